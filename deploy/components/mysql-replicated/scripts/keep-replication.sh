#!/usr/bin/env bash
# Sidecar: starts replication once the primary is seen to have all that is here, says when this pod
# has caught up and may be asked, and stops replication when the primary has lost what is here: an
# empty or an older primary must not be followed. When the Secret has another password for replication,
# it takes that. A replica that was made a primary by hand is left alone.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source /scripts/lib.sh

# without a primary, a replica is asked after this long all the same: what it has is what there is
wait_for_primary_s=60
look_at_primary_s=15

trap 'exit 0' TERM INT

main() {
  local since=$SECONDS looked=-$look_at_primary_s target='' promoted=''
  rm -f "$joined"
  until here "DO 1" 2>/dev/null; do pause 0.5; done
  if is_primary; then say "this is the primary"; : >"$joined"; fi
  while :; do
    is_primary || follow
    if [ -e "$joined" ]; then pause 2; else pause 0.5; fi
  done
}

follow() {
  local state
  state=$(threads) || return 0   # the server is away
  if [ -z "$state" ]; then
    # each start sets a source, so somebody took it away
    [ -n "$promoted" ] || say "no source is set: this server was promoted by hand, and is left alone"
    promoted=yes
    return 0
  fi
  take_password "$state"
  if [ ! -e "$joined" ] || [ "$state" = OFF/OFF/0 ] || [ $((SECONDS - looked)) -ge $look_at_primary_s ]; then
    looked=$SECONDS
    judge "$state"
  fi
}

# receiver/applier/errors
threads() {
  here "SELECT CONCAT_WS('/', c.SERVICE_STATE, a.SERVICE_STATE,
      c.LAST_ERROR_NUMBER * (c.SERVICE_STATE = 'OFF') + IFNULL((SELECT MAX(w.LAST_ERROR_NUMBER) FROM performance_schema.replication_applier_status_by_worker w), 0))
    FROM performance_schema.replication_connection_status c
    JOIN performance_schema.replication_applier_status a USING (CHANNEL_NAME)" 2>/dev/null
}

judge() { # STATE
  local mine theirs
  mine=$(position) || return 0
  if ! theirs=$(position_of_primary); then
    [ -e "$joined" ] || [ $((SECONDS - since)) -lt $wait_for_primary_s ] || join "the primary does not answer"
    return 0
  fi
  if ! contains "$theirs" "$mine"; then refuse; return 0; fi
  case $1 in
    OFF/OFF/0)
      say "the primary has all that is here: following it"
      here "START REPLICA"
      # caught up is who has what the primary has now; what it gets meanwhile would be a race
      target=$theirs;;
    ON/ON/*) [ -e "$joined" ] || ! contains "$mine" "${target:=$theirs}" || join "caught up";;
    *) say "replication stands: $1; see SHOW REPLICA STATUS";;
  esac
}

# The receiver logs in anew and goes on where it was.
take_password() { # STATE
  local now
  now=$(password_of replication) || return 0
  [ "$now" != "$(cat "$password_in_use")" ] || return 0
  say "the password for replication is another"
  {
    [ "${1%%/*}" = OFF ] || echo "STOP REPLICA IO_THREAD;"
    echo "CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD = $(quoted "$now");"
    [ "${1%%/*}" = OFF ] || echo "START REPLICA IO_THREAD;"
  } | mysql --defaults-file=/conf/keeper.cnf || return 0
  printf %s "$now" >"$password_in_use"
}

join() { # WHY
  say "this pod may be asked: $1"
  : >"$joined"
}

# Once is no proof: with semi-synchronous replication a replica may be ahead for a moment.
refuse() {
  local tries mine theirs
  for tries in 1 2 3; do
    pause 1
    mine=$(position) && theirs=$(position_of_primary) || return 0
    ! contains "$theirs" "$mine" || return 0
  done
  say "THE PRIMARY LACKS TRANSACTIONS THAT ARE HERE. It is not followed, and this pod is not asked ($tries looks)."
  say "here: $mine; there: $theirs"
  rm -f "$joined"
  here "STOP REPLICA"
}

position() { here "SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')"; }

position_of_primary() { position_of "$primary"; }

contains() { [ "$(here "SELECT GTID_SUBSET('$2', '$1')")" = 1 ]; }

main
