# shellcheck shell=bash
# The words of deploy/tests/image: the container, its names, and what is asked of it.

# eventually COMMAND...: true within 30 s
eventually() {
  local end=$((SECONDS + 30))
  until "$@"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.1
  done
}

unpack_image() {
  local layer
  mkdir -p "$folder/archive" "$folder/bundle/rootfs"
  tar -x -f "$archive" -C "$folder/archive"
  image=$folder/archive/$(jq -r '.[0].Config' "$folder/archive/manifest.json")
  jq -r '.[0].Layers[]' "$folder/archive/manifest.json" | while read -r layer; do
    tar -x -p -f "$folder/archive/$layer" -C "$folder/bundle/rootfs"
  done
}

one_file_not_root() {
  [ "$(cd "$folder/bundle/rootfs" && find . -mindepth 1 -printf '%P %U %m\n')" = "forebay 0 755" ] &&
    [ "$(jq -r '.config.User' "$image")" = 65532:65532 ]
}

is_static() { ! readelf --program-headers "$folder/bundle/rootfs/forebay" | grep INTERP >/dev/null; }

# A cluster's names, as CoreDNS would answer; the file is read again on HUP.
name_server() {
  : >"$folder/names"
  dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --user=root --listen-address=127.0.0.53 --bind-interfaces \
    --no-resolv --no-hosts --addn-hosts="$folder/names" --local=/local/ --local=/mysql/ --log-facility="$folder/dns.log" &
  names=$!
}

names_appear() { # [ADDRESS OF THE PRIMARY]
  local domain=wordpress.svc.cluster.local i
  {
    echo "${1:-127.0.0.2} mysql-0.mysql.$domain"
    echo "127.0.0.1 mysql-1.mysql.$domain"
    # more than fit into one datagram
    for i in {1..40}; do echo "127.0.1.$i mysql-read.$domain"; done
  } >"$folder/names"
  kill -HUP "$names"
}

# What the Deployment mounts: a ConfigMap, a Secret in kubelet's way of replacing it, an emptyDir.
configure() {
  mkdir -p "$folder/etc" "$folder/secret/..first" "$folder/socket"
  cat >"$folder/etc/forebay.toml" <<C
listen = "0.0.0.0:3306"
unix = "/run/forebay/mysql.sock"
primary = "mysql-0.mysql:${PRIMARY##*:}"
replicas = ["mysql-1.mysql.wordpress.svc.cluster.local.:${REPLICA1##*:}", "mysql-read:${REPLICA2##*:}"]
[admin]
http = "0.0.0.0:9090"
[drain]
delay_s = 1
[[users]]
name = "turning"
password_file = "/etc/forebay-secret/turning"
C
  printf 'first' >"$folder/secret/..first/turning"
  ln -s ..first "$folder/secret/..data"
  ln -s ..data/turning "$folder/secret/turning"
  chgrp -R 65532 "$folder/secret"
  chmod -R u=rwX,g=rX,o= "$folder/secret"
  chown 65532:65532 "$folder/socket"
  printf 'search wordpress.svc.cluster.local svc.cluster.local cluster.local\nnameserver 127.0.0.53\noptions ndots:5\n' \
    >"$folder/resolv.conf"
  printf '127.0.0.1 localhost\n' >"$folder/hosts"
  "$stack" sql "$folder/stack" primary <<S
CREATE TABLE wordpress.t (a INT);
CREATE USER turning@'%' IDENTIFIED BY 'first';
GRANT SELECT ON wordpress.* TO turning@'%';
S
}

# bundle ARGUMENTS...: what the kubelet makes of the pod's securityContext; without arguments, the image's own
bundle() {
  local arguments
  arguments=$(jq --null-input '$ARGS.positional' --args -- "$@")
  rm -f "$folder/bundle/config.json"
  runc spec --bundle "$folder/bundle"
  # The runtime's default profile, as it is without any capability.
  jq --arg machine "$(uname -m)" '
    {x86_64: "amd64", aarch64: "arm64"}[$machine] as $arch
    | {defaultAction, defaultErrnoRet, architectures: ["SCMP_ARCH_" + ($machine | ascii_upcase)],
       syscalls: [.syscalls[] | select((.includes.caps // []) == [] and ((.includes.arches // [$arch]) | index($arch)))
         | {names, action, args: (.args // []), errnoRet} | del(..|nulls)]}' \
    /usr/share/containers/seccomp.json >"$folder/seccomp.json"
  jq --slurpfile image "$image" --slurpfile seccomp "$folder/seccomp.json" --arg folder "$folder" --argjson arguments "$arguments" '
    def mount($from; $to; $options): {source: ($folder + $from), destination: $to, type: "bind", options: (["bind"] + $options)};
    ($image[0].config) as $made
    | .process.terminal = false
    | .process.user = ($made.User | split(":") | {uid: (.[0] | tonumber), gid: (.[1] | tonumber)})
    | .process.args = $made.Entrypoint + (if $arguments == [] then $made.Cmd else $arguments end)
    | .process.capabilities = {}
    | .process.noNewPrivileges = true
    | .process.rlimits = []
    | .root = {path: "rootfs", readonly: true}
    | .linux.seccomp = $seccomp[0]
    | .linux.namespaces |= map(select(.type != "network"))
    | .mounts = (.mounts | map(select(.type != "cgroup" and .type != "sysfs"))) + [
        mount("/etc"; "/etc/forebay"; ["ro"]), mount("/secret"; "/etc/forebay-secret"; ["ro"]),
        mount("/resolv.conf"; "/etc/resolv.conf"; ["ro"]), mount("/hosts"; "/etc/hosts"; ["ro"]),
        mount("/socket"; "/run/forebay"; [])]' "$folder/bundle/config.json" >"$folder/config.json"
  mv "$folder/config.json" "$folder/bundle/config.json"
}

container() { runc --root "$folder/runc" "$@"; }

run_container() {
  bundle
  container run --bundle "$folder/bundle" forebay >"$folder/forebay.log" 2>&1 &
  runner=$!
}

end_containers() { container delete --force forebay >/dev/null 2>&1 || true; }

wrong_configuration_is_told() {
  local code=0
  mkdir -p "$folder/etc" "$folder/secret" "$folder/socket"
  touch "$folder/resolv.conf" "$folder/hosts"
  bundle run --listen nowhere --primary mysql-0.mysql
  container run --bundle "$folder/bundle" wrong >"$folder/wrong.log" 2>&1 || code=$?
  [ "$code" = 78 ] && grep nowhere "$folder/wrong.log" >/dev/null
}

asked() { curl --silent --fail --max-time 5 "http://127.0.0.1:9090$1"; }
is_alive() { asked /livez >/dev/null; }
is_ready() { asked /readyz >/dev/null; }
lives_without_names() { eventually is_alive && container ps forebay >/dev/null; }

client() { mariadb --no-defaults --user=wordpress --password=wordpress --connect-timeout=5 --batch --skip-column-names "$@"; }

query() { # STATEMENT EXPECTED
  local answer
  answer=$(client --host=127.0.0.1 --ssl --execute="$1") && [ "$answer" = "$2" ]
}

status() { awk -v name="$1:" '$1 == name { print $2 }' "/proc/$(container state forebay | jq .pid)/status"; }

is_confined() {
  [ "$(status Uid) $(status Gid)" = "65532 65532" ] && [ "$(status CapEff)$(status CapPrm)$(status CapBnd)" = \
    000000000000000000000000000000000000000000000000 ] && [ "$(status NoNewPrivs) $(status Seccomp)" = "1 2" ]
}

root_is_read_only() {
  awk '$5 == "/" { print $6 }' "/proc/$(container state forebay | jq .pid)/mountinfo" | grep -w ro >/dev/null
}

# Both replicas, each known as one server however many addresses its name has.
reads_on_replicas() {
  client --host=127.0.0.1 --ssl --execute="SELECT a FROM wordpress.t" >/dev/null
  [ "$(asked /metrics | grep -c '^forebay_server_up{role="reader".*} 1$')" = 2 ]
}

tls_by_itself() {
  [ -n "$(client --host=127.0.0.1 --ssl --execute='\s' | sed -n 's/^SSL:.*Cipher in use is //p')" ]
}

over_the_socket() {
  [ "$(client --socket="$folder/socket/mysql.sock" --execute="SELECT MAX(a) FROM wordpress.t")" = 1 ]
}

logs_in_as_turning() { # PASSWORD
  [ "$(client --host=127.0.0.1 --ssl --user=turning --password="$1" --execute='SELECT 1' 2>/dev/null)" = 1 ]
}

# As kubelet does: a new folder, and one rename.
new_password_is_taken() {
  if [ ! -e "$folder/secret/..second" ]; then
    logs_in_as_turning first || return 1
    "$stack" sql "$folder/stack" primary "ALTER USER turning@'%' IDENTIFIED BY 'second'"
    mkdir "$folder/secret/..second"
    printf 'second' >"$folder/secret/..second/turning"
    chgrp -R 65532 "$folder/secret/..second"
    chmod -R u=rwX,g=rX,o= "$folder/secret/..second"
    ln -s ..second "$folder/secret/..new"
    mv -T "$folder/secret/..new" "$folder/secret/..data"
  fi
  logs_in_as_turning second
}

commands_inside() {
  container exec forebay /forebay check --config /etc/forebay/forebay.toml >/dev/null &&
    container exec forebay /forebay explain "SELECT a FROM t" | grep replica >/dev/null &&
    container exec forebay /forebay mode primary >/dev/null && container exec forebay /forebay mode split >/dev/null
}

primary_moves() {
  "$stack" kill "$folder/stack" primary
  ip route add prohibit 127.0.0.2/32 table local
  names_appear 127.0.0.3
  "$stack" start "$folder/stack" primary
  eventually query "INSERT INTO wordpress.t VALUES (2)" ''
}

drains() {
  local answer code=0
  client --host=127.0.0.1 --ssl --execute="SELECT SLEEP(4), 'whole'" >"$folder/answer" &
  answer=$!
  eventually statement_runs
  container kill forebay TERM
  eventually is_not_ready && wait "$answer" && grep whole "$folder/answer" >/dev/null || return 1
  wait "$runner" || code=$?
  [ "$code" = 0 ]
}

is_not_ready() { is_alive && ! is_ready; }
statement_runs() { "$stack" sql "$folder/stack" primary "SHOW PROCESSLIST" | grep SLEEP >/dev/null; }
