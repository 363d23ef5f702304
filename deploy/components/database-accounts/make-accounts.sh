#!/usr/bin/env bash
# Makes the site's database and the accounts that the Secret `mysql-accounts` has passwords for, on the
# server MYSQL_HOST; waits until it answers. What is there already is left as it is, but for passwords.
#   make-accounts.sh ACCOUNTS_FOLDER ADMINISTRATOR_FOLDER
set -euo pipefail
umask 077
accounts=$1 administrator=$2

# quoted TEXT: as a literal of SQL
quoted() {
  local text=${1//\\/\\\\}
  printf "'%s'" "${text//\'/\'\'}"
}

statements() {
  local database=${MYSQL_DATABASE:-wordpress} name
  echo "CREATE DATABASE IF NOT EXISTS $database CHARACTER SET utf8mb4;"
  for name in wordpress monitor; do
    printf "CREATE USER IF NOT EXISTS %s@'%%' IDENTIFIED BY %s;\n" "$name" "$(quoted "$(cat "$accounts/$name-password")")"
    printf "ALTER USER %s@'%%' IDENTIFIED BY %s;\n" "$name" "$(quoted "$(cat "$accounts/$name-password")")"
  done
  echo "GRANT ALL ON $database.* TO wordpress@'%';"
  # Forebay looks how far replicas are, and follows what is written
  echo "GRANT REPLICATION CLIENT, REPLICATION SLAVE ON *.* TO monitor@'%';"
}

# The password goes through a file, which the list of processes does not show.
client() {
  mysql --defaults-extra-file="$configuration" --host="$MYSQL_HOST" --port="${MYSQL_PORT:-3306}" --connect-timeout=5 "$@"
}

# Before MySQL 9.6 the log does not tell what foreign keys change; who may see them can add it. It shows
# everybody's statements too, so no account has it that needs it not.
foreign_keys_are_logged() {
  [ "$(client --batch --skip-column-names --execute='SELECT @@GLOBAL.innodb_native_foreign_keys' 2>/dev/null)" = 0 ]
}

configuration=$(mktemp)
trap 'rm -f "$configuration"' EXIT
printf '[client]\nuser="%s"\npassword="%s"\n' "$(cat "$administrator/user")" "$(cat "$administrator/password")" >"$configuration"

until client --execute="SELECT 1" >/dev/null; do
  echo "$MYSQL_HOST does not let us in yet"
  sleep 5
done
statements | client
echo "the accounts are there"
if ! foreign_keys_are_logged; then
  client --execute="GRANT PROCESS ON *.* TO monitor@'%'" ||
    echo "monitor may not see foreign keys: each write will count as one to all tables" >&2
fi
