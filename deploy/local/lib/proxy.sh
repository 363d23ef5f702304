# shellcheck shell=bash
# Forebay in front of the three servers, with nothing configured but their addresses.

start_proxy() {
  local args
  ! process_of forebay >/dev/null || return 0
  [ -x "$FOREBAY_PROGRAM" ] || die "no such program: $FOREBAY_PROGRAM; build it with: make build"
  need curl "stack install wordpress"
  mapfile -d '' -t args <"$DIR/forebay.args"
  spawn forebay "$FOREBAY_PROGRAM" run --listen "$FOREBAY" --admin-http "$FOREBAY_ADMIN" \
    --primary "$PRIMARY" --replicas "$REPLICA1,$REPLICA2" "${args[@]}"
  until_true proxy_ready || true
  process_of forebay >/dev/null && proxy_ready || die "Forebay is not ready; see $DIR/forebay/log"
}

proxy_ready() {
  process_of forebay >/dev/null || return 0
  curl --silent --fail --output /dev/null "http://$FOREBAY_ADMIN/readyz"
}
