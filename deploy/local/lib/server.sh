# shellcheck shell=bash
# One database server: its files, its configuration, its start. Session defaults stay those of a
# stock server: what Forebay needs beyond them it has to ask for itself.

MYSQL97=${FOREBAY_MYSQL97:-$CACHE/mysql97}
MYSQL56=${FOREBAY_MYSQL56:-$CACHE/mysql56}
POD_CNF=$here/../components/mysql-replicated/cnf
SERVER_ACCOUNT=mysql
[ -n "$AS_ROOT" ] || SERVER_ACCOUNT=$(id -un)

# What differs between the kinds of server.
words_of_server() {
  case $DB in
    mariadb)
      SERVER=(mariadbd) CLIENT=(mariadb)
      REPLICA=SLAVE SOURCE=MASTER CHANGE="CHANGE MASTER TO" AUTO="MASTER_USE_GTID=slave_pos"
      POSITION="SELECT @@gtid_binlog_pos" AWAIT=MASTER_GTID_WAIT AWAITED='= 0'
      MONITOR_GRANT="SLAVE MONITOR, BINLOG MONITOR";;
    mysql97)
      SERVER=("$MYSQL97/run" mysqld) CLIENT=("$MYSQL97/run" mysql)
      REPLICA=REPLICA SOURCE=SOURCE CHANGE="CHANGE REPLICATION SOURCE TO"
      AUTO="SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1"
      POSITION="SELECT REPLACE(@@global.gtid_executed, CHAR(10), '')" AWAIT=WAIT_FOR_EXECUTED_GTID_SET AWAITED='= 0'
      MONITOR_GRANT="REPLICATION CLIENT";;
    mysql56)
      SERVER=(env "LD_LIBRARY_PATH=$MYSQL56" "$MYSQL56/mysqld") CLIENT=(mariadb)
      REPLICA=SLAVE SOURCE=MASTER CHANGE="CHANGE MASTER TO" AUTO="MASTER_AUTO_POSITION=1"
      POSITION="SELECT REPLACE(@@global.gtid_executed, CHAR(10), '')"
      AWAIT=WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS AWAITED='>= 0'
      MONITOR_GRANT="REPLICATION CLIENT";;
    *) die "unknown database '$DB': mariadb, mysql97 or mysql56";;
  esac
  case ${GTID:-on}:$DB in
    on:*) ;;
    off:mysql97) AUTO="GET_SOURCE_PUBLIC_KEY=1" POSITION="SHOW BINARY LOG STATUS" AWAIT=SOURCE_POS_WAIT AWAITED='>= 0';;
    off:mysql56) AUTO="${SOURCE}_RETRY_COUNT=86400" POSITION="SHOW MASTER STATUS" AWAIT=MASTER_POS_WAIT AWAITED='>= 0';;
    *) die "--gtid on or off, and off for MySQL only";;
  esac
}

address_of() {
  case $1 in
    primary) echo "$PRIMARY";;
    replica1) echo "$REPLICA1";;
    replica2) echo "$REPLICA2";;
    *) die "unknown node '$1': primary, replica1 or replica2";;
  esac
}

sql() { # NODE [SQL]
  address_of "$1" >/dev/null
  local client=("${CLIENT[@]}" --no-defaults --user=root --socket="$DIR/$1/socket" --connect-timeout=5 --batch --skip-column-names)
  if [ $# -gt 1 ]; then "${client[@]}" --execute="$2"; else "${client[@]}"; fi
}

# A fresh data folder, made once and copied to each node.
make_data_folder() {
  local data=$DIR/template
  # A starting server removes every server's scratch tables from the folder that it shares with them.
  mkdir -p "$DIR/template.tmp"
  [ -z "$AS_ROOT" ] || chown "$SERVER_ACCOUNT" "$DIR/template.tmp"
  local -x TMPDIR=$DIR/template.tmp
  case $DB in
    mariadb)
      need mariadbd "stack install servers"
      mariadb-install-db --no-defaults --user="$SERVER_ACCOUNT" --datadir="$data" --skip-test-db \
        --innodb-log-file-size=32M --auth-root-authentication-method=normal;;
    mysql97)
      need "$MYSQL97/run" "stack install mysql97"
      "${SERVER[@]}" --no-defaults --initialize-insecure --user="$SERVER_ACCOUNT" --datadir="$data" \
        --basedir="$MYSQL97/usr" --lc-messages-dir="$MYSQL97/usr/share/mysql";;
    mysql56)
      # it comes with one
      need "$MYSQL56/mysqld" "stack install mysql56"
      cp -r "$MYSQL56/data/mysql" "$data";;
  esac >"$DIR/template.log" 2>&1 || { cat "$DIR/template.log" >&2; die "no data folder could be made"; }
  # its identity and its keys are made anew by each server
  rm -f "$data/auto.cnf" "$data"/*.pem
}

need() { # PROGRAM COMMAND
  command -v "$1" >/dev/null || die "$1 is missing; install it with: deploy/local/$2"
}

# As MySQL does for itself: an authority, and what it signed. Here all servers have the same one, and
# the certificate names the address.
make_keys() { # FOLDER
  local ca=$DIR/authority
  need openssl "stack install servers"
  if [ ! -e "$ca.pem" ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj '/CN=stack authority' \
      -keyout "$ca.key" -out "$ca.pem" 2>/dev/null
  fi
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=stack server' \
    -keyout "$1/server-key.pem" -out "$1/request.pem" 2>/dev/null
  openssl x509 -req -in "$1/request.pem" -CA "$ca.pem" -CAkey "$ca.key" -CAcreateserial -days 30 \
    -extfile <(echo 'subjectAltName=IP:127.0.0.1,DNS:localhost') -out "$1/server-cert.pem" 2>/dev/null
  rm "$1/request.pem"
  cp "$ca.pem" "$1/ca.pem"
}

create_server() { # NODE
  mkdir -p "$DIR/$1/tmp"
  cp -r "$DIR/template" "$DIR/$1/data"
  [ "$DB" != mariadb ] || make_keys "$DIR/$1/data"
  [ -z "$AS_ROOT" ] || chown -R "$SERVER_ACCOUNT" "$DIR/$1"
}

write_cnf() { # NODE
  local home=$DIR/$1 port
  port=$(port_of "$(address_of "$1")")
  cat <<C
[mysqld]
user=$SERVER_ACCOUNT
datadir=$home/data
socket=$home/socket
pid_file=$home/data/server.pid
tmpdir=$home/tmp
general_log_file=$home/general.log
bind_address=127.0.0.1
port=$port
server_id=$port
report_host=127.0.0.1
skip_name_resolve=ON
log_bin=binlog
relay_log=relay
binlog_format=ROW
binlog_row_image=FULL
innodb_flush_log_at_trx_commit=1
innodb_buffer_pool_size=64M
C
  case $DB in
    mariadb) cat <<C
ssl_ca=$home/data/ca.pem
ssl_cert=$home/data/server-cert.pem
ssl_key=$home/data/server-key.pem
character_set_server=utf8mb4
gtid_strict_mode=ON
log_slave_updates=ON
innodb_log_file_size=32M
C
      [ "$1" = primary ] || echo read_only=ON;;
    mysql97) cat <<C
basedir=$MYSQL97/usr
plugin_dir=$MYSQL97/usr/lib/mysql/plugin
lc_messages_dir=$MYSQL97/usr/share/mysql
character_sets_dir=$MYSQL97/usr/share/mysql/charsets
C
      # what the pods of deploy/ replicate with
      cat "$POD_CNF/replication.cnf" "$POD_CNF/${1%[0-9]}.cnf";;
    mysql56) cat <<C
basedir=$MYSQL56
lc_messages_dir=$MYSQL56/share
character_sets_dir=$MYSQL56/share/charsets
character_set_server=utf8mb4
explicit_defaults_for_timestamp=ON
gtid_mode=ON
enforce_gtid_consistency=ON
log_slave_updates=ON
C
      [ "$1" = primary ] || echo read_only=ON;;
  esac
  [ "${GTID:-on}" = on ] || printf '%s\n' gtid_mode=OFF enforce_gtid_consistency=OFF
  cat "$DIR/extra.cnf"
}

server_answers() { # NODE; ends the waiting when the process is gone
  process_of "$1" >/dev/null || return 0
  sql "$1" "DO 1"
}

start_server() { # NODE
  address_of "$1" >/dev/null
  ! process_of "$1" >/dev/null || return 0
  # a killed server leaves its lock; to mysqld a process that nobody has waited for still holds it
  rm -f "$DIR/$1/socket" "$DIR/$1/socket.lock"
  write_cnf "$1" >"$DIR/$1/my.cnf"
  spawn "$1" "${SERVER[@]}" --defaults-file="$DIR/$1/my.cnf"
  until_true server_answers "$1" || true
  sql "$1" "DO 1" || die "$1 did not start; see $DIR/$1/log"
}
