<?php
// One PHP worker under load: a connection for each request, as PHP does it. Says what it was told, a line
// each, until the file `stop` is there.
//   load.php write|read|pass NAME HOST USER PASSWORD DATABASE STOP
// "acked TIME ID TOOK", "missing TIME ID" (written, and not read back), "read TIME TOOK", "error TIME CODE AT WORDS"
// write: reads back what it wrote on the same connection; pass: on another one, as the next visitor would.
[, $kind, $name, $host, $user, $password, $database, $stop] = $argv;
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
$say = fn (string ...$words) => print(implode(' ', [$words[0], sprintf('%.3f', microtime(true)), ...array_slice($words, 1)]) . "\n");
for ($number = 0; !file_exists($stop); $number++) {
    $at = 'connect';
    try {
        $connection = new mysqli($host, $user, $password, $database);
        if ($kind !== 'read') {
            $id = "$name-$number";
            $at = "write:$id";
            $began = microtime(true);
            $connection->query("INSERT INTO podsim (id) VALUES ('$id')");
            $say('acked', $id, sprintf('%.3f', microtime(true) - $began));
            if ($kind === 'pass') {
                $at = 'connect';
                $connection = new mysqli($host, $user, $password, $database);
            }
            $at = 'own';
            if (!$connection->query("SELECT id FROM podsim WHERE id = '$id'")->fetch_row()) {
                $say('missing', $id);
            }
        } else {
            $at = 'read';
            $began = microtime(true);
            $connection->query('SELECT COUNT(*) FROM wp_posts')->fetch_row();
            $say('read', sprintf('%.3f', microtime(true) - $began));
        }
        $connection->close();
    } catch (mysqli_sql_exception $error) {
        $say('error', (string) $error->getCode(), $at, $error->getMessage());
    }
    usleep(60000);
}
