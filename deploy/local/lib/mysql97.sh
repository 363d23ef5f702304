# shellcheck shell=bash
# MySQL's own server is not in Debian's stable release. Debian unstable's packages are unpacked
# into one folder and run through the dynamic loader they came with; the machine's own packages
# are not touched. Needs no root.

# The mirror is whatever this machine already gets its packages from.
mirror() {
  local format="\$(REPO_URI)"
  apt-get indextargets --format "$format" 'Created-By: Packages' 'Component: main' | grep -v security | head -n 1
}

fetch_mysql97() {
  [ ! -x "$MYSQL97/run" ] || return 0
  local apt half names
  mkdir -p "$CACHE"
  exec 7>"$CACHE/mysql97.lock"
  flock 7
  [ ! -x "$MYSQL97/run" ] || return 0
  apt=$(mktemp -d) half=$MYSQL97.half
  # shellcheck disable=SC2064
  trap "rm -rf '$apt' '$half'" EXIT
  say "unpacking MySQL into $MYSQL97 (70 MB to fetch)"
  lists_of_unstable "$apt"
  names=$(newest_mysql "$apt")
  # shellcheck disable=SC2086
  apt_in "$apt" get -qq --no-install-recommends --download-only -y install $names >/dev/null
  unpack "$apt" "$half"
  write_runner "$half"
  rm -rf "$MYSQL97"
  mv "$half" "$MYSQL97"
  rm -rf "$apt"
  trap - EXIT
  exec 7>&-
  say "$("$MYSQL97/run" mysqld --no-defaults --version)"
}

apt_in() { # FOLDER get|cache ARGUMENTS...: apt with lists, status and archives of its own
  local apt=$1 tool=apt-$2
  shift 2
  "$tool" -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o "Dir::State=$apt" -o "Dir::State::lists=$apt/lists" -o "Dir::State::status=$apt/status" \
    -o "Dir::Cache=$apt" -o "Dir::Cache::archives=$apt/archives" -o APT::Sandbox::User="$(id -un)" \
    -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false -o Debug::NoLocking=1 "$@"
}

lists_of_unstable() { # FOLDER
  local keys=/usr/share/keyrings/debian-archive-keyring.gpg from
  from=$(mirror)
  [ -n "$from" ] || die "apt knows no package mirror; MySQL cannot be fetched"
  mkdir -p "$1/lists/partial" "$1/archives/partial"
  : >"$1/status"
  echo "deb [signed-by=$keys] $from sid main" >"$1/sources.list"
  apt_in "$1" get -qq update
}

# The plain names follow the newest release; if they are gone, the highest version in a name.
newest_mysql() { # FOLDER
  local version
  if apt_in "$1" cache show mysql-server-core >/dev/null 2>&1; then
    echo mysql-server-core mysql-client-core
    return
  fi
  version=$(apt_in "$1" cache search --names-only '^mysql-server-core-[0-9.]+$' | sed 's/^mysql-server-core-//; s/ .*//' | sort -V | tail -n 1)
  [ -n "$version" ] || die "Debian unstable has no MySQL server now"
  say "MySQL $version is the newest there is"
  echo "mysql-server-core-$version" "mysql-client-core-$version"
}

unpack() { # FOLDER DESTINATION
  local package
  rm -rf "$2"
  mkdir -p "$2"
  for package in "$1"/archives/*.deb; do
    case ${package##*/} in perl*|libperl*|tzdata*) continue;; esac   # only its scripts want them
    dpkg-deb --fsys-tarfile "$package" |
      tar -x -C "$2" --exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/locale
  done
}

write_runner() { # FOLDER
  cat >"$1/run" <<'R'
#!/bin/sh
# Runs a program of this folder with the loader and the libraries of this folder.
here=$(cd "$(dirname "$0")" && pwd)
program=$here/usr/sbin/$1
[ -e "$program" ] || program=$here/usr/bin/$1
shift
for loader in "$here"/usr/lib64/ld-linux-*.so.2 "$here"/usr/lib/*/ld-linux-*.so.*; do
  [ -e "$loader" ] && break
done
libraries=$(echo "$here"/usr/lib/*-linux-gnu)
exec "$loader" --library-path "$libraries" --argv0 "$program" "$program" "$@"
R
  chmod +x "$1/run"
}
