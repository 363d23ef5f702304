# shellcheck shell=bash
# Words the other files share: errors, waiting, the stack's folder, free ports.

PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=cache.sh
source "$(dirname "${BASH_SOURCE[0]}")/cache.sh"
WAIT_SECONDS=${FOREBAY_STACK_WAIT:-90}
# Servers never run as root; the site neither.
if [ "$(id -u)" = 0 ]; then AS_ROOT=yes; else AS_ROOT=; fi

die() { echo "stack: $*" >&2; exit 1; }
say() { echo "stack: $*" >&2; }

# until_true COMMAND...: false when it did not come true in time
until_true() {
  local end=$((SECONDS + WAIT_SECONDS))
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.1
  done
}

create_folder() {
  [ ! -e "$DIR/env" ] || die "$DIR already holds a stack"
  mkdir -p "$DIR"
  DIR=$(cd "$DIR" && pwd)
  # a socket's path is at most 107 bytes, and servers add a file name
  [ ${#DIR} -lt 85 ] || die "the folder's name is too long for a socket: $DIR"
  # the servers' account has to pass through
  if [ -n "$AS_ROOT" ]; then
    chmod a+x "$DIR"
    setpriv --reuid=nobody --clear-groups test -x "$DIR" || die "the servers' account cannot enter $DIR; take a folder below /tmp"
  fi
}

open_folder() {
  DIR=$(cd "$1" 2>/dev/null && pwd) || die "no such folder: $1"
  [ -f "$DIR/env" ] || die "$DIR holds no stack"
  # shellcheck source=/dev/null
  source "$DIR/env"
  [ -z "${DB:-}" ] || words_of_server
}

port_of() { echo "${1##*:}"; }

# free_ports COUNT: ports nobody listens on, below those the kernel hands out itself. The last one
# given is remembered, so that two stacks that start at once get different ones.
free_ports() {
  local taken next found=()
  mkdir -p "$CACHE"
  exec 9>>"$CACHE/port"
  flock 9
  read -r next <"$CACHE/port" || next=0
  taken=" $(awk 'FNR > 1 { split($2, a, ":"); print a[2] }' /proc/net/tcp /proc/net/tcp6 2>/dev/null | tr '\n' ' ')"
  while [ ${#found[@]} -lt "$1" ]; do
    next=$((next + 1))
    if [ "$next" -lt 20000 ] || [ "$next" -ge 32000 ]; then next=$((20000 + RANDOM % 9000)); fi
    [[ $taken != *" $(printf '%04X' "$next") "* ]] && found+=("$next")
  done
  echo "$next" >"$CACHE/port"
  exec 9>&-
  echo "${found[@]}"
}
