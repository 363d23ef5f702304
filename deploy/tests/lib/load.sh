# shellcheck shell=bash
# Visitors of a WordPress site who do not stop: two who read, one who writes and looks at what he
# wrote. Each request is judged by its page. Uses deploy/local/lib/visit.sh.

# eventually COMMAND...: true within 30 s
eventually() {
  local end=$((SECONDS + 30))
  until "$@"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.1
  done
}

visitors=()
load_begins() {
  rm -f "$folder"/load.*
  reader one & visitors+=($!)
  reader two & visitors+=($!)
  writer & visitors+=($!)
}

load_ends() {
  [ ${#visitors[@]} -gt 0 ] || return 0
  : >"$folder/load.stop"
  wait "${visitors[@]}" 2>/dev/null || true
  visitors=()
}

goes_on() { [ -d "$folder" ] && [ ! -e "$folder/load.stop" ]; }

# judged NAME WORDS COMMAND...
judged() {
  local name=$1 words=$2
  shift 2
  if "$@"; then echo "good $words"; else echo "bad $words $(date +%T)"; fi >>"$folder/load.$name"
}

reader() { # NAME
  while goes_on; do
    judged "$1" "front page" page_has "$1" / "$post_title"
    judged "$1" "post" page_has "$1" "/?p=$post" "$post_text"
  done
}
page_has() { get "$1" "$2" 2>&1 | has "$3"; }

writer() {
  local turn=0
  while goes_on; do
    turn=$((turn + 1))
    judged writer "title $turn" change_title "turn $turn"
    comment_text="I was here for the ${turn}th time ($mark)."
    judged writer "comment $turn" leave_comment
  done
}

count() { cat "$folder"/load.* 2>/dev/null | grep -c "^$1 " || true; }

# requests_pass: a dozen more, whatever they are like
requests_pass() {
  local before
  before=$(($(count good) + $(count bad)))
  eventually count_is $((before + 12))
}
count_is() { [ $(($(count good) + $(count bad))) -ge "$1" ]; }

# By then all that began before has been answered.
no_request_failed() {
  requests_pass && [ "$(count bad)" = 0 ] && echo "          $(count good) requests, none failed"
}
