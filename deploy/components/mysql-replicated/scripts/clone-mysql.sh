#!/usr/bin/env bash
# Init container: fills an empty volume. The primary's gets a new database, unless a peer lives that
# has the old one; a replica's gets a copy of a running peer. Both are made beside their place and
# moved there when they are whole, so what a crash leaves half done is never taken for data.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source /scripts/lib.sh

bootstrap=${MYSQL_BOOTSTRAP:-auto}
# the server's own configuration, without what only the real one has to do
server=(mysqld --defaults-file=/conf/server.cnf --skip-networking --skip-log-bin --super-read-only=OFF)
seed=0

main() {
  if [ -d /data/mysql/mysql ]; then say "there is data"; exit 0; fi
  rm -rf /data/new /data/seed
  trap 'end_seed; exit 143' TERM INT
  trap end_seed EXIT
  if is_primary; then fill_primary; return; fi
  local peers
  mapfile -t peers < <(donors)
  fill_from "${peers[@]}"
}

# Beside living replicas an empty primary would be followed by them, and what they hold be lost.
fill_primary() {
  local code=0
  case $bootstrap in
    auto)
      answers "$service" || code=$?
      [ $code != 0 ] || die "the volume is empty, and a peer has data. Nothing is done. Give the volume back, or set MYSQL_BOOTSTRAP to the peer to copy, such as mysql-1"
      [ $code != 2 ] || die "the volume is empty, and it cannot be told whether a peer has data"
      make_database;;
    never) die "the volume is empty, and MYSQL_BOOTSTRAP is never";;
    *) fill_from "$bootstrap";;
  esac
}

make_database() {
  say "making an empty database"
  "${server[@]}" --initialize-insecure --datadir=/data/new
  move_in
}

# Not the primary if it can be helped: the next lower ordinal first.
donors() {
  local peer
  for ((peer = ordinal - 1; peer >= 0; peer--)); do echo "${HOSTNAME%-*}-$peer"; done
  if [ "${primary##*-}" -gt "$ordinal" ]; then echo "$primary"; fi
}

# Pods start together: whoever is to be copied may not be there yet.
fill_from() { # PEER...
  local donor quiet=''
  start_seed
  until fill_from_one "$@"; do
    [ -n "$quiet" ] || say "nobody can be copied yet; trying again"
    quiet=yes
    pause 2
  done
  end_seed
  move_in
}

# A donor serves one joiner at a time and refuses others; then the next one.
fill_from_one() { # PEER...
  for donor in "$@"; do
    if ! answers "$donor.$service"; then continue; fi
    if ! is_sound "$donor"; then say "$donor has what the primary lacks"; continue; fi
    say "copying $donor"
    if copy "$donor.$service"; then return 0; fi
    say "$donor could not be copied"
    rm -rf /data/new
  done
  return 1
}

# Whoever copied a replica that went its own way could follow the primary no more than that.
is_sound() { # PEER
  local theirs all
  if [ "$1" = "$primary" ] || [ "$bootstrap" = "$1" ]; then return 0; fi
  theirs=$(position_of "$1") || return 1
  # without a primary, what a replica has is what there is
  all=$(position_of "$primary") || return 0
  [ "$(mysql --no-defaults --user=root --socket=/run/mysqld/seed.sock --batch --skip-column-names \
    --execute="SELECT GTID_SUBSET('$theirs', '$all')")" = 1 ]
}

# CLONE is a statement, so it takes a server to say it to: an empty one, gone afterwards.
start_seed() {
  local small=(--datadir=/data/seed --auto-generate-certs=OFF --performance-schema=OFF --innodb-buffer-pool-size=64M)
  "${server[@]}" --initialize-insecure "${small[@]}"
  "${server[@]}" "${small[@]}" --socket=/run/mysqld/seed.sock --pid-file=/data/seed/pid &
  seed=$!
  until at_seed "DO 1" 2>/dev/null; do
    kill -0 "$seed" 2>/dev/null || die "no server to copy with"
    pause 0.2
  done
}

end_seed() {
  [ "$seed" = 0 ] || kill -KILL "$seed" 2>/dev/null || true
  [ "$seed" = 0 ] || wait "$seed" 2>/dev/null || true
  seed=0
  rm -rf /data/seed /run/mysqld/seed.sock*
}

at_seed() { mysql --no-defaults --user=root --socket=/run/mysqld/seed.sock --execute="$1"; }

# The password goes through a pipe: a command line can be read by others.
copy() { # HOST
  printf "SET GLOBAL clone_valid_donor_list = '%s:3306'; CLONE INSTANCE FROM clone@'%s':3306 IDENTIFIED BY %s DATA DIRECTORY = '/data/new' REQUIRE SSL;\n" \
    "$1" "$1" "$(quoted "$(password_of clone)")" |
    mysql --no-defaults --user=root --socket=/run/mysqld/seed.sock
}

move_in() {
  sync
  rm -rf /data/mysql
  mv /data/new /data/mysql
  sync
  say "the data is there"
}

main
