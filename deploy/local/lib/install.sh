# shellcheck shell=bash
# Installs what is missing, and only that. The distribution's services are never started by it.

INSTALLABLE='servers mysql97 mysql56 clients wordpress build static image hadolint kubernetes tools regression python redis podsim stranger'

install() { # WHAT...
  local what packages=()
  [ $# -gt 0 ] || die "install what? $INSTALLABLE"
  for what in "$@"; do
    case $what in
      servers) packages+=(mariadb-server mariadb-client openssl);;
      wordpress) packages+=(php-cli php-mysql wordpress wordpress-theme-twentytwentythree curl);;
      build) packages+=(gcc libc6-dev make);;
      static) packages+=(gcc libc6-dev make musl-tools binutils);;
      image) packages+=(buildah runc jq binutils iproute2 dnsmasq-base curl openssl);;
      tools) packages+=(haproxy prometheus shellcheck curl);;
      regression) packages+=(mariadb-test);;
      python) packages+=(python3 python3-pip);;
      redis) packages+=(redis-server php-redis python3);;   # python3 drives the site
      podsim) packages+=(mariadb-server iproute2 util-linux python3 python3-yaml php-cli php-mysql wordpress wordpress-theme-twentytwentythree curl);;
      stranger) packages+=(debootstrap);;
      mysql97) packages+=(mariadb-server);;   # for the account "mysql" and mysqld's system libraries
      mysql56)
        packages+=(mariadb-server mariadb-client)
        command -v npm >/dev/null || packages+=(npm);;
      kubernetes)
        packages+=(php-cli prometheus shellcheck openssl git iproute2)
        command -v npm >/dev/null || packages+=(npm)
        python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv);;
      hadolint)
        python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv);;
      clients)
        packages+=(gcc libc6-dev pkg-config libssl-dev)
        command -v npm >/dev/null || packages+=(npm)
        python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv);;
      *) die "install: unknown '$what'; there are: $INSTALLABLE";;
    esac
  done
  install_packages "${packages[@]}"
  for what in "$@"; do
    case $what in
      mysql97|podsim) fetch_mysql97;;
      mysql56) fetch_mysql56;;
      clients) fetch_clients;;
      static) add_static_target;;
      hadolint) fetch_hadolint;;
      kubernetes) fetch_kubernetes;;
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

# The library of Rust itself that static programs are linked with.
add_static_target() {
  local target
  target=$(uname -m)-unknown-linux-musl
  [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ] || return 0
  command -v rustup >/dev/null || die "Rust has no $target, and there is no rustup to add it"
  rustup target add "$target"
}
