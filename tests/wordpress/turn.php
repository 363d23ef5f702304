<?php
// Each request takes the next of several Forebays, and cron starts by itself. Comes before the
// site's wp-config.php; the line "first,second" of hosts is in the file beside it.
(function () {
    $folder = __DIR__ . '/wp-content/uploads';
    $hosts = explode(',', trim((string) file_get_contents("$folder/hosts")));
    $file = fopen("$folder/turn", 'c+');
    flock($file, LOCK_EX);
    $turn = (int) stream_get_contents($file);
    rewind($file);
    fwrite($file, sprintf('%09d', $turn + 1));
    fclose($file);
    putenv('WORDPRESS_DB_HOST=' . $hosts[$turn % count($hosts)]);
    putenv("WORDPRESS_REDIS=$folder/redis.sock");
})();
