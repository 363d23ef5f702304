<?php
// What wp-config.php says beside the database, because there are several pods. WORDPRESS_CONFIG_EXTRA
// reads every file of this folder.

define('DISABLE_WP_CRON', true);          // cronjob.yaml calls wp-cron.php
define('AUTOMATIC_UPDATER_DISABLED', true);
define('WP_AUTO_UPDATE_CORE', false);     // the core comes with the image
