<?php
// Whether WordPress can log in to its database, asked when a pod starts: with a wrong password or
// host, a rollout goes no further. Without one, wp-load.php says so with status 500.

define('SHORTINIT', true);
require __DIR__ . '/wp-load.php';

header('Content-Type: text/plain');
if ($wpdb->get_var('SELECT 1') !== '1') {
    http_response_code(500);
    exit("the database does not answer\n");
}
echo "started\n";
