#!/usr/bin/env bash
# Dumps the site's database into a folder, at one moment, and keeps the newest dumps. A dump is made
# under another name and counts once it is whole. Through Forebay, with the site's own account: so it
# works with any server behind it; all of it is read from the primary.
#
#   backup.sh FOLDER      MYSQL_HOST, MYSQL_DATABASE, MYSQL_USER, PASSWORD_FILE, KEEP say the rest
# shellcheck source-path=SCRIPTDIR source=login.sh
set -euo pipefail
umask 077
folder=$1
database=${MYSQL_DATABASE:-wordpress}
source "$(dirname "${BASH_SOURCE[0]}")/login.sh"

dump() {
  mysqldump --defaults-extra-file="$login" --host="$MYSQL_HOST" --port="${MYSQL_PORT:-3306}" \
    --single-transaction --quick --hex-blob --triggers --no-tablespaces --set-gtid-purged=OFF --column-statistics=0 \
    --default-character-set=utf8mb4 "$database"
}

name=$folder/$database-$(date --utc +%Y%m%dT%H%M%SZ).sql.gz
rm -f "$folder"/*.half
dump | gzip >"$name.half"
[[ $(gzip --decompress --stdout "$name.half" | tail -n 1) == "-- Dump completed"* ]] || { echo "the dump is not whole" >&2; exit 1; }
sync "$name.half"
mv "$name.half" "$name"
echo "$name: $(stat --format=%s "$name") bytes"

# The names sort by time.
mapfile -t dumps < <(printf '%s\n' "$folder/$database"-*.sql.gz | sort --reverse)
for old in "${dumps[@]:${KEEP:-7}}"; do
  rm "$old"
  echo "$old: removed"
done
