# shellcheck shell=bash
# The three servers together: accounts, replication, how far each is.

NODES=(primary replica1 replica2)

fleet_up() {
  local node
  make_data_folder
  for node in "${NODES[@]}"; do create_server "$node"; done
  rm -rf "$DIR/template" "$DIR/template.tmp"
  start_server primary
  create_accounts
  for node in replica1 replica2; do
    start_server "$node"
    drop_strangers "$node"
    follow "$node"
  done
  fleet_sync
}

# Through the primary's binlog, so the replicas have them too.
create_accounts() {
  drop_strangers primary
  sql primary <<S
CREATE DATABASE wordpress CHARACTER SET utf8mb4;
CREATE USER wordpress@'%' IDENTIFIED BY 'wordpress';
GRANT ALL ON wordpress.* TO wordpress@'%';
CREATE USER monitor@'%' IDENTIFIED BY 'monitor';
GRANT $MONITOR_GRANT ON *.* TO monitor@'%';
CREATE USER repl@'%' IDENTIFIED BY 'repl';
GRANT REPLICATION SLAVE ON *.* TO repl@'%';
S
}

# MySQL 5.6 comes with accounts for nobody, which hide those for any host that are made here.
drop_strangers() { # NODE
  [ "$DB" = mysql56 ] || return 0
  sql "$1" "SET sql_log_bin = 0; DELETE FROM mysql.user WHERE user = '' OR host NOT IN ('localhost', '127.0.0.1');
    FLUSH PRIVILEGES"
}

# The client's warning that a password is on the line is of no use here.
follow() { # NODE
  sql "$1" "$CHANGE ${SOURCE}_HOST='127.0.0.1', ${SOURCE}_PORT=$(port_of "$PRIMARY"),
    ${SOURCE}_USER='repl', ${SOURCE}_PASSWORD='repl', ${SOURCE}_CONNECT_RETRY=1, $AUTO;
    START $REPLICA"
}

fleet_sync() {
  local node position
  position=$(position_of primary)
  for node in replica1 replica2; do
    process_of "$node" >/dev/null || continue
    [ "$(sql "$node" "SELECT $AWAIT($position, $WAIT_SECONDS) $AWAITED")" = 1 ] || die "$node does not catch up"
  done
}

# As what waits for it takes it.
position_of() { # NODE
  local file offset
  if [ "${GTID:-on}" = on ]; then echo "'$(sql "$1" "$POSITION")'"; return; fi
  read -r file offset _ <<<"$(sql "$1" "$POSITION")"
  echo "'$file', $offset"
}

fleet_lag() { # NODE SECONDS
  [ "$1" != primary ] || die "the primary does not follow anybody"
  sql "$1" "STOP $REPLICA; $CHANGE ${SOURCE}_DELAY=$2; START $REPLICA"
}

# field NODE NAME: of the replica's status; the names differ by one word
field() {
  "${CLIENT[@]}" --no-defaults --user=root --socket="$DIR/$1/socket" -E --execute="SHOW $REPLICA STATUS" 2>/dev/null |
    sed -n -E "s/^ *$2: //p"
}

fleet_status() {
  local node state
  printf '%-10s %-16s %-8s %-10s %-11s %s\n' node address pid read_only io/sql position
  for node in "${NODES[@]}"; do
    if ! process_of "$node" >/dev/null; then printf '%-10s %-16s down\n' "$node" "$(address_of "$node")"; continue; fi
    state="$(field "$node" '(Slave|Replica)_IO_Running')/$(field "$node" '(Slave|Replica)_SQL_Running')"
    printf '%-10s %-16s %-8s %-10s %-11s %s\n' "$node" "$(address_of "$node")" "$(process_of "$node")" \
      "$(sql "$node" "SELECT @@read_only")" "$state" "$(position_of "$node")"
  done
  for node in forebay wordpress; do
    [ -d "$DIR/$node" ] || continue
    state=$FOREBAY; [ "$node" = forebay ] || state=$WORDPRESS
    printf '%-10s %-16s %s\n' "$node" "$state" "$(process_of "$node" || echo down)"
  done
}
