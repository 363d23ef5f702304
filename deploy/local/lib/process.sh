# shellcheck shell=bash
# Processes of a stack: started in a session of their own, marked with the stack's folder in their
# environment, ended by that mark. No process is ever ended by its name.

# started PID: when it started, in clock ticks; with its number this names a process for good
started() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  read -ra stat <<<"${stat##*) }"
  [ "${stat[0]}" != Z ] && echo "${stat[19]}"
}

# spawn NODE COMMAND...
spawn() {
  local node=$1
  shift
  mkdir -p "$DIR/$node"
  env "FOREBAY_STACK=$DIR" setsid "$@" >>"$DIR/$node/log" 2>&1 </dev/null 9>&- &
  echo "$! $(started $!)" >"$DIR/$node/pid"
  disown
}

# process_of NODE: its number, if it lives
process_of() {
  local pid since
  { read -r pid since <"$DIR/$1/pid"; } 2>/dev/null || return 1
  [ "$(started "$pid")" = "$since" ] && echo "$pid"
}

is_gone() { ! process_of "$1"; }

# end_process NODE SIGNAL: its whole session, waited for
end_process() {
  local pid
  pid=$(process_of "$1") || return 0
  kill "-$2" -- "-$pid" 2>/dev/null || true
  until_true is_gone "$1" || kill -KILL -- "-$pid" 2>/dev/null || true
  rm -f "$DIR/$1/pid"
}

signal_node() { # NODE [SIGNAL]
  local pid signal=${2:-KILL}
  if [ "$signal" = KILL ]; then end_process "$1" KILL; return; fi
  pid=$(process_of "$1") || die "$1 does not run"
  kill "-$signal" -- "-$pid"
}

# Everything that carries this stack's mark. The caller does not: neither launcher nor watch.
marked() {
  local file pid
  # processes come and go while grep looks: what it could not read is no error
  { grep -lzxF "FOREBAY_STACK=$DIR" /proc/[0-9]*/environ 2>/dev/null || true; } | while read -r file; do
    pid=${file#/proc/}; pid=${pid%/environ}
    if started "$pid" >/dev/null; then echo "$pid"; fi
  done
}

none_marked() { [ -z "$(marked)" ]; }

# The data is thrown away, so nothing needs a clean shutdown.
down() { # [--keep]
  local pids tries
  [ -n "${WATCHING:-}" ] || end_process watch KILL
  for tries in 1 2 3; do
    pids=$(marked)
    [ -n "$pids" ] || break
    # shellcheck disable=SC2086
    kill -KILL $pids 2>/dev/null || true
    until_true none_marked || say "still running after try $tries: $(marked | tr '\n' ' ')"
  done
  [ "${1:-}" = --keep ] || rm -rf "$DIR"
}

# A caller that dies without a word (kill -9) must not leave servers behind for ever.
watch_owner() { # PID|none
  [ "$1" != none ] || return 0
  local since
  since=$(started "$1") || die "owner $1 does not run"
  mkdir -p "$DIR/watch"
  setsid "$here/stack" watch "$DIR" "$1" "$since" >"$DIR/watch/log" 2>&1 </dev/null &
  echo "$! $(started $!)" >"$DIR/watch/pid"
  disown
}

watch() { # OWNER SINCE
  # a folder for scratch files may be gone by then
  cd /
  while [ "$(started "$1")" = "$2" ]; do sleep 1; done
  WATCHING=yes
  down
}
