<?php
// Logs in, writes a number and reads it back: what each cell of the matrix does.
// matrix.php mysqli|pdo|persistent HOST PORT USER PASSWORD DATABASE NUMBER [CA]
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
[$_, $driver, $host, $port, $user, $password, $database, $number] = $argv;
$ca = $argv[8] ?? null;

function by_mysqli(string $host): mysqli {
    global $port, $user, $password, $database, $ca;
    $link = mysqli_init();
    if ($ca) $link->ssl_set(null, null, $ca, null, null);
    $flags = $ca ? MYSQLI_CLIENT_SSL | MYSQLI_CLIENT_SSL_VERIFY_SERVER_CERT : 0;
    $link->real_connect($host, $user, $password, $database, (int) $port, null, $flags);
    return $link;
}

$write = "INSERT INTO matrix VALUES ($number)";
$read = "SELECT n FROM matrix WHERE n = $number";
if ($driver === 'pdo') {
    $options = $ca ? [PDO::MYSQL_ATTR_SSL_CA => $ca, PDO::MYSQL_ATTR_SSL_VERIFY_SERVER_CERT => true] : [];
    $link = new PDO("mysql:host=$host;port=$port;dbname=$database", $user, $password, $options);
    $link->exec($write);
    echo $link->query($read)->fetchColumn(), "\n";
} else {
    $host = $driver === 'persistent' ? "p:$host" : $host;
    $link = by_mysqli($host);
    $link->query($write);
    if ($driver === 'persistent') {
        // The next page of this worker: the same connection, by COM_CHANGE_USER.
        $link->close();
        $link = by_mysqli($host);
    }
    echo $link->query($read)->fetch_row()[0], "\n";
    $link->close();
}
