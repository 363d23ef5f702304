<?php
// Stands for the plugins that split reads from writes inside of WordPress (HyperDB and its like): a
// drop-in that keeps a second connection for SELECT and stays with the first after a write. It reads
// from DB_HOST too: what is tested is that it can be taken away, not that it shows old pages.
class Splitter extends wpdb {
    private $reader = null;
    private $wrote = false;

    public function query($query) {
        if (!preg_match('/^\s*SELECT\b(?!.*(FOR UPDATE|FOUND_ROWS))/is', $query)) {
            $this->wrote = $this->wrote || !preg_match('/^\s*(SELECT|SHOW|DESCRIBE)\b/i', $query);
            return parent::query($query);
        }
        if ($this->wrote || !$this->ready) {
            return parent::query($query);
        }
        $this->reader ??= $this->connect_reader();
        [$writer, $this->dbh] = [$this->dbh, $this->reader];
        try {
            return parent::query($query);
        } finally {
            $this->dbh = $writer;
        }
    }

    private function connect_reader() {
        $writer = $this->dbh;
        $this->db_connect();
        [$reader, $this->dbh] = [$this->dbh, $writer];
        return $reader;
    }
}

$wpdb = new Splitter(DB_USER, DB_PASSWORD, DB_NAME, DB_HOST);
