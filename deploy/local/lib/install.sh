# shellcheck shell=bash
# Installs what is missing, and only that. The distribution's services are never started by it.

install() { # WHAT...
  local what packages=()
  [ $# -gt 0 ] || die "install what? servers mysql97 mysql56 clients wordpress build tools regression python redis stranger"
  for what in "$@"; do
    case $what in
      servers) packages+=(mariadb-server mariadb-client openssl);;
      wordpress) packages+=(php-cli php-mysql wordpress wordpress-theme-twentytwentythree curl);;
      build) packages+=(gcc libc6-dev make);;
      tools) packages+=(haproxy prometheus shellcheck curl);;
      regression) packages+=(mariadb-test);;
      python) packages+=(python3 python3-pip);;
      redis) packages+=(redis-server php-redis python3);;   # python3 drives the site
      stranger) packages+=(debootstrap);;
      mysql97) packages+=(mariadb-server);;   # for the account "mysql" and mysqld's system libraries
      mysql56)
        packages+=(mariadb-server mariadb-client)
        command -v npm >/dev/null || packages+=(npm);;
      clients)
        command -v npm >/dev/null || packages+=(npm)
        python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv);;
      *) die "install: unknown '$what': servers mysql97 mysql56 clients wordpress build tools regression python redis stranger";;
    esac
  done
  install_packages "${packages[@]}"
  for what in "$@"; do
    case $what in
      mysql97) fetch_mysql97;;
      mysql56) fetch_mysql56;;
      clients) fetch_clients;;
    esac
  done
}

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

install_packages() { # PACKAGE...
  local package missing=() root=()
  command -v dpkg-query >/dev/null || die "this machine is not a Debian; install yourself: $*"
  for package in "$@"; do is_installed "$package" || missing+=("$package"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ -z "$AS_ROOT" ]; then
    command -v sudo >/dev/null || die "run as root: apt-get install ${missing[*]}"
    root=(sudo)
  fi
  say "installing ${missing[*]}"
  "${root[@]}" bash -s -- "${missing[@]}" <<<"$INSTALL_SCRIPT"
}

# Runs as root. While it runs, policy-rc.d forbids the packages to start their services; services
# that came new are switched off for the next boot too.
# shellcheck disable=SC2016
INSTALL_SCRIPT='
set -euo pipefail
policy=/usr/sbin/policy-rc.d
kept=$policy.before-forebay
exec 8>/var/lock/forebay-install; flock 8
restore() { rm -f "$policy"; [ ! -e "$kept" ] || mv "$kept" "$policy"; }
if grep -qs "until Forebay" "$policy"; then restore; fi   # an earlier run was killed
if [ -e "$policy" ]; then mv "$policy" "$kept"; fi
trap restore EXIT
printf "#!/bin/sh\n# no service is started until Forebay has installed what it needs\nexit 101\n" >"$policy"
chmod 755 "$policy"
units() { ls /lib/systemd/system /usr/lib/systemd/system 2>/dev/null | sort -u; }
before=$(units)
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "$@" 8>&- </dev/null >/dev/null
if [ -d /run/systemd/system ]; then
  for unit in mariadb apache2 haproxy prometheus redis-server; do
    grep -qx "$unit.service" <<<"$before" || systemctl disable -q "$unit" 2>/dev/null || true
  done
fi
'
