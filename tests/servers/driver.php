<?php
// What a PHP application does with a database, by one of its drivers; prints what it saw.
// driver.php mysqli|emulated|native HOST:PORT|localhost:SOCKET USER PASSWORD DATABASE [look]
mysqli_report(MYSQLI_REPORT_OFF);
[$_, $driver, $address, $user, $password, $database] = $argv;
[$host, $port] = explode(':', $address);
// As WordPress reads DB_HOST.
[$port, $socket] = $port[0] === '/' ? [0, $port] : [(int) $port, null];
ini_set('memory_limit', '512M');

function say(string $what, mixed $value): void {
    $text = json_encode($value, JSON_PARTIAL_OUTPUT_ON_ERROR | JSON_UNESCAPED_UNICODE);
    echo $what, ': ', strlen($text) > 500 ? strlen($text) . ' ' . md5($text) : $text, "\n";
}

interface Driver {
    function rows(string $sql): mixed;
    function prepared(string $sql, array $values): mixed;
    function every(string $sql): mixed;
    function id(): mixed;
}

class ByMysqli implements Driver {
    public mysqli $link;
    function __construct(string $host, int $port, ?string $socket, string $user, string $password, string $database) {
        $this->link = mysqli_init();
        if (!@$this->link->real_connect($host, $user, $password, $database, $port, $socket)) {
            die("cannot connect: " . $this->link->connect_error . "\n");
        }
    }
    function seen(mixed $result): mixed {
        if ($result === false) return [$this->link->errno, $this->link->sqlstate, $this->link->error];
        return $result === true ? [$this->link->affected_rows, $this->link->info] : $result->fetch_all(MYSQLI_ASSOC);
    }
    function rows(string $sql): mixed { return $this->seen($this->link->query($sql)); }
    function prepared(string $sql, array $values): mixed {
        $statement = $this->link->prepare($sql);
        if (!$statement) return [$this->link->errno, $this->link->error];
        $types = implode('', array_map(fn($v) => is_int($v) ? 'i' : (is_float($v) ? 'd' : 's'), $values));
        if ($values) $statement->bind_param($types, ...$values);
        if (!$statement->execute()) return [$statement->errno, $statement->error];
        $result = $statement->get_result();
        $seen = $result ? $result->fetch_all(MYSQLI_ASSOC) : [$statement->affected_rows, $statement->insert_id];
        // Twice, with the same values.
        if ($result) { $statement->execute(); $seen[] = $statement->get_result()->num_rows; }
        $statement->close();
        return $seen;
    }
    function every(string $sql): mixed {
        if (!$this->link->multi_query($sql)) return [$this->link->errno, $this->link->error];
        $seen = [];
        do {
            $result = $this->link->store_result();
            $seen[] = $result ? $result->fetch_all() : [$this->link->affected_rows];
        } while ($this->link->more_results() && $this->link->next_result());
        if ($this->link->errno) $seen[] = [$this->link->errno, $this->link->error];
        return $seen;
    }
    function id(): mixed { return $this->link->insert_id; }
}

class ByPdo implements Driver {
    public PDO $link;
    function __construct(string $host, int $port, ?string $socket, string $user, string $password, string $database, bool $emulated) {
        $place = $socket === null ? "host=$host;port=$port" : "unix_socket=$socket";
        $this->link = new PDO("mysql:$place;dbname=$database;charset=utf8mb4", $user, $password, [
            PDO::ATTR_EMULATE_PREPARES => $emulated, PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
    }
    function told(PDOException $e): mixed { return $e->errorInfo; }
    function rows(string $sql): mixed {
        try {
            $statement = $this->link->query($sql);
            return $statement->columnCount() ? $statement->fetchAll(PDO::FETCH_ASSOC) : [$statement->rowCount()];
        } catch (PDOException $e) { return $this->told($e); }
    }
    function prepared(string $sql, array $values): mixed {
        try {
            $statement = $this->link->prepare($sql);
            foreach ($values as $at => $value) {
                $statement->bindValue($at + 1, $value, is_int($value) ? PDO::PARAM_INT : ($value === null ? PDO::PARAM_NULL : PDO::PARAM_STR));
            }
            $statement->execute();
            return $statement->columnCount() ? $statement->fetchAll(PDO::FETCH_ASSOC) : [$statement->rowCount()];
        } catch (PDOException $e) { return $this->told($e); }
    }
    function every(string $sql): mixed {
        try {
            $statement = $this->link->query($sql);
            $seen = [];
            do { $seen[] = $statement->columnCount() ? $statement->fetchAll(PDO::FETCH_NUM) : [$statement->rowCount()]; }
            while ($statement->nextRowset());
            return $seen;
        } catch (PDOException $e) { return $this->told($e); }
    }
    function id(): mixed { return $this->link->lastInsertId(); }
}

function connect(): Driver {
    global $driver, $host, $port, $socket, $user, $password, $database;
    return $driver === 'mysqli' ? new ByMysqli($host, $port, $socket, $user, $password, $database)
        : new ByPdo($host, $port, $socket, $user, $password, $database, $driver === 'emulated');
}

$db = connect();

if (isset($argv[6])) {
    // Another visitor, who only looks.
    say('seen by a reader', $db->rows('SELECT id, name, price, made, HEX(data) AS data FROM thing ORDER BY id'));
    say('nothing to see', $db->rows('SELECT id FROM nothing'));
    exit;
}

say('drop', $db->rows('DROP TABLE IF EXISTS thing, big'));
say('create', $db->rows('CREATE TABLE thing (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50) UNIQUE, price DECIMAL(8,2),
    weight DOUBLE, made DATETIME(6) NULL, data BLOB, flag TINYINT, large BIGINT UNSIGNED) CHARACTER SET utf8mb4'));
say('insert', $db->rows("INSERT INTO thing (name, price, flag) VALUES ('cup', 1.50, 1), ('pot', 22, 0), ('käse 🧀', NULL, NULL)"));
say('id', $db->id());
say('id asked', $db->rows('SELECT LAST_INSERT_ID() AS id'));
say('read', $db->rows('SELECT * FROM thing ORDER BY id'));
say('none', $db->rows("SELECT * FROM thing WHERE name = 'nobody'"));
say('update', $db->rows("UPDATE thing SET price = 2 WHERE name = 'cup'"));
say('same again', $db->rows("UPDATE thing SET price = 2 WHERE name = 'cup'"));
say('row count', $db->rows('SELECT ROW_COUNT() AS n'));
say('duplicate', $db->rows("INSERT INTO thing (name) VALUES ('cup')"));
say('syntax', $db->rows('SELEC 1'));
say('no table', $db->rows('SELECT * FROM nothing'));
say('no column', $db->rows('SELECT nothing FROM thing'));
say('found', $db->rows('SELECT SQL_CALC_FOUND_ROWS id FROM thing ORDER BY id LIMIT 1'));
say('found rows', $db->rows('SELECT FOUND_ROWS() AS n'));
say('warn', $db->rows("SELECT CAST('12x' AS SIGNED) AS n"));
say('warnings', $db->rows('SHOW WARNINGS'));
say('begin', $db->rows('START TRANSACTION'));
say('in it', $db->rows("UPDATE thing SET price = 9 WHERE name = 'pot'"));
say('seen in it', $db->rows("SELECT price FROM thing WHERE name = 'pot'"));
say('rollback', $db->rows('ROLLBACK'));
say('after it', $db->rows("SELECT price FROM thing WHERE name = 'pot'"));
say('autocommit off', $db->rows('SET autocommit = 0'));
say('kept', $db->rows("UPDATE thing SET price = 10 WHERE name = 'pot'"));
say('commit', $db->rows('COMMIT'));
say('autocommit on', $db->rows('SET autocommit = 1'));
say('after commit', $db->rows("SELECT price FROM thing WHERE name = 'pot'"));
say('names', $db->rows("SET NAMES latin1"));
say('named', $db->rows('SELECT HEX(name) AS name, LENGTH(CAST(name AS BINARY)) AS n, CHARSET(\'a\') AS c FROM thing ORDER BY id'));
say('names back', $db->rows('SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci'));
say('collation', $db->rows("SELECT COLLATION('a') AS c FROM thing LIMIT 1"));
say('zone', $db->rows("SET time_zone = '+03:00'"));
say('zoned', $db->rows('SELECT FROM_UNIXTIME(86400) AS t FROM thing LIMIT 1'));
say('mode', $db->rows("SET SESSION sql_mode = 'ANSI_QUOTES'"));
say('moded', $db->rows('SELECT "name" FROM thing ORDER BY id LIMIT 1'));
say('mode off', $db->rows("SET SESSION sql_mode = ''"));
say('unmoded', $db->rows('SELECT "name" AS n FROM thing ORDER BY id LIMIT 1'));
say('zero date', $db->rows("UPDATE thing SET made = '0000-00-00' WHERE name = 'cup'"));
say('mode asked', $db->rows('SELECT @@SESSION.sql_mode AS m, @@time_zone AS z'));
say('variable', $db->rows("SET @a = 5"));
say('variable read', $db->rows('SELECT @a + 1 AS a'));
say('temporary', $db->rows('CREATE TEMPORARY TABLE scrap (id INT)'));
say('temporary filled', $db->rows('INSERT INTO scrap VALUES (1), (2)'));
say('temporary read', $db->rows('SELECT COUNT(*) AS n FROM scrap'));
say('temporary gone', $db->rows('DROP TEMPORARY TABLE scrap'));
say('prepared in', $db->prepared('INSERT INTO thing (name, price, weight, made, data, flag, large) VALUES (?, ?, ?, ?, ?, ?, ?)',
    ['bowl', '3.25', 0.1, '2024-02-29 12:34:56.789', "\0\xff'\"\\\n", 1, '18446744073709551615']));
say('prepared null', $db->prepared('INSERT INTO thing (name, made) VALUES (?, ?)', ['lid', null]));
say('prepared out', $db->prepared('SELECT id, name, price, weight, made, HEX(data) AS data, flag, large FROM thing WHERE id > ? ORDER BY id', [0]));
say('prepared none', $db->prepared('SELECT id FROM thing WHERE name = ?', ['nobody']));
say('prepared wrong', $db->prepared('SELECT id FROM nothing WHERE name = ?', ['x']));
say('prepared update', $db->prepared('UPDATE thing SET weight = ? WHERE name LIKE ?', [2.5, 'c%']));
say('procedure', $db->rows('DROP PROCEDURE IF EXISTS both_ways'));
say('procedure made', $db->rows('CREATE PROCEDURE both_ways(n INT) BEGIN SELECT n AS first; SELECT n + 1 AS second, NULL AS nil; UPDATE thing SET flag = n; END'));
say('call', $db->every('CALL both_ways(4)'));
say('after call', $db->rows('SELECT DISTINCT flag FROM thing'));
say('many', $db->every("SELECT 1; INSERT INTO thing (name) VALUES ('jar'); SELECT COUNT(*) FROM thing"));
if ($driver === 'mysqli') say('many, one wrong', $db->every('SELECT 1; SELECT * FROM nothing; SELECT 2'));
say('after many', $db->rows("SELECT COUNT(*) AS n FROM thing WHERE name = 'jar'"));
say('big', $db->rows('CREATE TABLE big (id INT PRIMARY KEY, data LONGBLOB)'));
$data = str_repeat('0123456789abcdef', 1 << 20) . 'the end';  // 16 MiB and 7 bytes
say('big in', $db->rows("INSERT INTO big VALUES (1, '$data')"));
say('big looked at', $db->rows('SELECT LENGTH(data) AS n, MD5(data) AS m FROM big'));
$back = $db->rows('SELECT data, 1 AS one FROM big');
say('big out', [strlen($back[0]['data']), $back[0]['data'] === $data, $back[0]['one']]);
say('edge in', $db->rows("REPLACE INTO big VALUES (2, REPEAT('x', 16777215 - 4))"));  // its row: 0xffffff bytes
$back = $db->rows('SELECT data FROM big WHERE id = 2');
say('edge out', [strlen($back[0]['data']), md5($back[0]['data'])]);
say('rows', count($db->rows('WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT a.i, b.i AS j FROM n a, n b WHERE b.i <= 100')));
say('show', $db->rows("SHOW TABLES LIKE 'th%'"));
say('columns', $db->rows("SHOW FULL COLUMNS FROM thing LIKE 'n%'"));
say('still well', $db->rows('SELECT COUNT(*) AS n FROM thing'));
