<?php
// Where the drop-in of the plugin "Redis Object Cache" finds its cache. Only the primary: a replica may
// be late, and an old object is an old page.

define('WP_REDIS_HOST', 'redis-0.redis');
define('WP_REDIS_PORT', 6379);
define('WP_REDIS_PASSWORD', rtrim(file_get_contents('/run/secrets/redis-accounts/password')));
define('WP_REDIS_TIMEOUT', 1);
define('WP_REDIS_READ_TIMEOUT', 1);
define('WP_REDIS_GRACEFUL', true);        // without its cache, the site is slower and not gone
