<?php
// PHP's requests, one after the other: a connection for each, and a query. Until the file STOP is there.
//   visits.php HOST USER PASSWORD STOP
// The last line: "N of M failed".
[, $host, $user, $password, $stop] = $argv;
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
[$host, $socket] = explode(':', $host, 2) + [1 => null];
for ($all = $failed = 0; !file_exists($stop); $all++) {
    try {
        $connection = new mysqli($host, $user, $password, socket: $socket);
        $connection->query('SELECT 1')->fetch_row();
        $connection->close();
    } catch (mysqli_sql_exception $error) {
        $failed++;
        echo $error->getCode(), ' ', $error->getMessage(), "\n";
    }
    usleep(2000);
}
echo "$failed of $all failed\n";
