<?php
// Letters are not sent but put into a folder, one a file, for the tests to read.
add_filter('pre_wp_mail', function ($sent, $letter) {
    $folder = WP_CONTENT_DIR . '/uploads/mail';
    wp_mkdir_p($folder);
    file_put_contents($folder . '/' . microtime(true) . '-' . bin2hex(random_bytes(4)), "To: " . implode(',', (array) $letter['to']) . "\n\n" . $letter['message']);
    return true;
}, 10, 2);
