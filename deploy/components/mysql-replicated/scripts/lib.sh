# shellcheck shell=bash disable=SC2034
# What the other scripts share: who this pod is, words for the log, the server's own account.
# It takes bash, coreutils and MySQL's own programs; the image has little else.
set -euo pipefail
umask 077

service=${MYSQL_SERVICE:-mysql}
primary=${MYSQL_PRIMARY:-mysql-0}
ordinal=${HOSTNAME##*-}
socket=/run/mysqld/mysqld.sock
# there while this pod may be asked; see keep-replication.sh
joined=/run/mysqld/joined
# with which this replica logs in at the primary; see keep-replication.sh
password_in_use=/conf/replication-password

say() { printf '%(%FT%TZ)T %s: %s\n' -1 "${0##*/}" "$*"; }
die() { say "$*" >&2; exit 1; }

is_primary() { [ "$HOSTNAME" = "$primary" ]; }
role() { if is_primary; then echo primary; else echo replica; fi; }

password_of() { cat "/etc/mysql-accounts/$1-password"; }

# quoted TEXT: as a literal of SQL
quoted() {
  local text=${1//\\/\\\\}
  printf "'%s'" "${text//\'/\'\'}"
}

# sleep, and yet end at once when told to: a shell looks at its traps between commands only
pause() {
  sleep "$1" &
  wait $!
}

# answers HOST: 0 it does; 1 nobody is there; 2 nobody knows
answers() {
  local code=0
  timeout 5 bash -c "exec 3<>/dev/tcp/$1/3306" 2>/dev/null || code=$?
  case $code in 0) ;; 124) return 2;; *) return 1;; esac
}

# here SQL: as the pod's own account, over the socket
here() { mysql --defaults-file=/conf/keeper.cnf --batch --skip-column-names --execute="$1"; }

# position_of POD: all that it has executed
position_of() {
  MYSQL_PWD=$(password_of monitor) mysql --no-defaults --user=monitor --host="$1.$service" --ssl-mode=REQUIRED \
    --connect-timeout=3 --batch --skip-column-names --execute="SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')" 2>/dev/null
}
