#!/usr/bin/env bash
# Loads a dump of backup.sh: the newest, or RESTORE_FILE. Every table of the dump becomes what it was;
# tables that are not in it stay. Nobody should write meanwhile.
#
#   restore.sh FOLDER     MYSQL_HOST, MYSQL_DATABASE, MYSQL_USER, PASSWORD_FILE say the rest
# shellcheck source-path=SCRIPTDIR source=login.sh
set -euo pipefail
umask 077
folder=$1
database=${MYSQL_DATABASE:-wordpress}
source "$(dirname "${BASH_SOURCE[0]}")/login.sh"

file=${RESTORE_FILE:-$(find "$folder" -maxdepth 1 -name "$database-*.sql.gz" | sort | tail -n 1)}
[ -n "$file" ] || { echo "there is no dump in $folder" >&2; exit 1; }
file=$folder/${file##*/}
gzip --test "$file"
echo "loading $file"
gzip --decompress --stdout "$file" |
  mysql --defaults-extra-file="$login" --host="$MYSQL_HOST" --port="${MYSQL_PORT:-3306}" \
    --default-character-set=utf8mb4 "$database"
echo "loaded"
