#!/usr/bin/env bash
# Writes the server's configuration and /conf/init.sql, which the server runs at each start, before it
# listens. So passwords and the source of replication are what the Secret and the StatefulSet say now,
# and an account without a password never meets the network.
#
#   init-mysql.sh              the init container: what clone-mysql.sh goes by
#   init-mysql.sh COMMAND...   the server's own: a server that crashed starts again in the same pod,
#                              and must not bring back passwords that were changed since the pod began
# shellcheck source-path=SCRIPTDIR source=lib.sh
source /scripts/lib.sh

main() {
  [[ $ordinal =~ ^[0-9]+$ ]] || die "'$HOSTNAME' does not end in a number"
  local keeper
  keeper=$(head -c 24 /dev/urandom | base64)
  printf '[client]\nuser=keeper\npassword="%s"\nsocket=%s\n' "$keeper" "$socket" >/conf/keeper.cnf
  write_cnf >/conf/server.cnf
  printf '!include /conf/server.cnf\n[mysqld]\ninit_file=/conf/init.sql\n' >/conf/my.cnf
  { own_account "$keeper"; "as_$(role)"; } >/conf/init.sql
  rm -rf /data/tmp
  mkdir -p /data/tmp
  say "$HOSTNAME is server $((100 + ordinal)), $(role) of $primary.$service"
  [ $# -gt 0 ] || return 0
  umask 022
  exec "$@"
}

write_cnf() {
  local part
  for part in replication pod size "$(role)"; do echo "!include /etc/mysql-cnf/$part.cnf"; done
  printf '[mysqld]\nserver_id=%d\nreport_host=%s\n' $((100 + ordinal)) "$HOSTNAME.$service"
}

# For the probes and for keep-replication.sh. It is this server's alone: not replicated, reached over
# the pod's socket only, with a password that ends with the pod.
own_account() { # PASSWORD
  echo "SET sql_log_bin = 0;"
  account keeper@localhost "$1" ''
  echo "GRANT REPLICATION_SLAVE_ADMIN, REPLICATION CLIENT, CONNECTION_ADMIN ON *.* TO keeper@localhost;"
  echo "GRANT SELECT ON performance_schema.* TO keeper@localhost;"
  echo "SET sql_log_bin = 1;"
  # also what a copied server brought of its donor's
  echo "STOP REPLICA;"
  echo "RESET REPLICA ALL;"
}

# account NAME PASSWORD [REQUIREMENT]: it exists, and the password is this one
account() {
  printf "CREATE USER IF NOT EXISTS %s IDENTIFIED BY %s %s;\n" "$1" "$(quoted "$2")" "$3"
  printf "ALTER USER %s IDENTIFIED BY %s %s;\n" "$1" "$(quoted "$2")" "$3"
}

# Replicas get these through replication.
as_primary() {
  local database=${MYSQL_DATABASE:-wordpress} user=${MYSQL_USER:-wordpress}
  account root@localhost "$(password_of root)" ''
  account repl@\'%\' "$(password_of replication)" 'REQUIRE SSL'
  echo "GRANT REPLICATION SLAVE ON *.* TO repl@'%';"
  account clone@\'%\' "$(password_of clone)" 'REQUIRE SSL'
  echo "GRANT BACKUP_ADMIN ON *.* TO clone@'%';"
  # Forebay's own account, and how replicas ask how far the primary is
  account monitor@\'%\' "$(password_of monitor)" ''
  echo "GRANT REPLICATION CLIENT, REPLICATION SLAVE ON *.* TO monitor@'%';"
  echo "CREATE DATABASE IF NOT EXISTS $database CHARACTER SET utf8mb4;"
  account "'$user'@'%'" "$(password_of wordpress)" ''
  echo "GRANT ALL ON $database.* TO '$user'@'%';"
}

as_replica() {
  local password
  password=$(password_of replication)
  printf %s "$password" >"$password_in_use"
  printf "CHANGE REPLICATION SOURCE TO SOURCE_HOST='%s', SOURCE_USER='repl', SOURCE_PASSWORD=%s, " \
    "$primary.$service" "$(quoted "$password")"
  echo "SOURCE_SSL=1, SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=2, SOURCE_RETRY_COUNT=86400;"
}

main "$@"
