#!/bin/sh
# Starts Redis or Valkey in its pod: redis-0 takes writes, the others follow it. The password comes from
# a file and goes in by standard input: neither the environment nor the list of processes shows it.
#   start.sh CONFIGURATION PASSWORD_FILE [SERVER]
# shellcheck disable=SC3028  # HOSTNAME is in the environment of each container
set -eu
configuration=$1 password=$(cat "$2") server=${3:-valkey-server}

following=
if [ "${HOSTNAME##*-}" != 0 ]; then
  following="replicaof redis-0.redis 6379"
fi
# The shell is replaced by the server, which then receives TERM itself.
exec "$server" - <<CONFIGURATION
$(cat "$configuration")
requirepass $password
masterauth $password
replica-announce-ip $HOSTNAME.redis
$following
CONFIGURATION
