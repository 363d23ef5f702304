<?php
// What wpdb says before its first query, on many connections: preamble.php ADDRESS NAME COUNT
[, $address, $name, $count] = $argv;
[$host, $port] = explode(':', $address);
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
$incompatible = ['NO_ZERO_DATE', 'ONLY_FULL_GROUP_BY', 'STRICT_TRANS_TABLES',
    'STRICT_ALL_TABLES', 'TRADITIONAL', 'ANSI'];
$seen = [];
for ($page = 0; $page < $count; $page++) {
    $db = mysqli_init();
    mysqli_real_connect($db, $host, $name, $name, null, (int) $port);
    mysqli_set_charset($db, 'utf8mb4');
    mysqli_query($db, "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_unicode_520_ci'");
    $result = mysqli_query($db, 'SELECT @@SESSION.sql_mode');
    $modes = array_diff(explode(',', mysqli_fetch_array($result)[0]), $incompatible);
    $modes = implode(',', $modes);
    mysqli_query($db, "SET SESSION sql_mode='$modes'");
    $warnings = mysqli_warning_count($db);
    mysqli_select_db($db, $name);
    // The state is there for whatever comes next, wherever it runs.
    $line = "$modes $warnings";
    if ($page + 1 == $count) {
        $state = 'SELECT @@sql_mode, @@collation_connection, @@character_set_client, DATABASE()';
        $line .= ' ' . implode(' ', mysqli_fetch_row(mysqli_query($db, $state . ' FROM DUAL')));
    }
    $seen[$line] = ($seen[$line] ?? 0) + 1;
    mysqli_close($db);
}
foreach ($seen as $line => $times) {
    echo "$times x $line\n";
}
