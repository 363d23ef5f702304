# shellcheck shell=bash
# What reached which server: read from the servers' general logs, from their GTID positions, and
# from Forebay's /metrics.

servers=(primary replica1 replica2)
declare -A reads writes others

# count_statements LOG: "reads writes others" of the connections that logged in as wordpress. The
# replication applier logs in as nobody. A read is a SELECT from one of the site's tables; statements
# may begin on the next line.
count_statements() {
  awk '
    function judge(text) {
      text = tolower(text)
      if (text ~ /^[ (]*(select|show|describe|desc|explain)[ (]/ && text !~ /for update|lock in share mode/) { if (text ~ /wp_/) reads++; else others++ }
      else if (text ~ /^(set|use|begin|start transaction|commit|rollback|do) ?/) others++
      else writes++
    }
    function flush() { if (open) { gsub(/[ \t\r]+/, " ", text); sub(/^ /, "", text); judge(text) } open = 0 }
    # "<time>\t<id> <command>\t<text>"; within one second MariaDB leaves the time out
    match($0, /^[^\t]*\t+ *[0-9]+ (Connect|Query|Execute|Quit|Init DB|Prepare|Close stmt|Reset stmt|Change user|Statistics|Ping|Field List|Reset connection|Binlog Dump)/) {
      flush()
      head = substr($0, RSTART, RLENGTH); rest = substr($0, RLENGTH + 2)
      sub(/^[^\t]*\t+ */, "", head); id = head; sub(/ .*/, "", id); sub(/^[0-9]+ /, "", head)
      if (head == "Connect" || head == "Change user") { if (rest ~ /^wordpress@/) ours[id] = 1; else delete ours[id] }
      else if ((head == "Query" || head == "Execute") && id in ours) { open = 1; text = rest }
      next
    }
    open { text = text " " $0 }
    END { flush(); print reads + 0, writes + 0, others + 0 }
  ' "$1"
}

read_accounts() {
  local node
  for node in "${servers[@]}"; do
    read -r "reads[$node]" "writes[$node]" "others[$node]" <<<"$(count_statements "$folder/$node/general.log")"
  done
}

print_accounts() {
  local node
  printf '  %-10s %8s %8s %8s\n' server reads writes others
  for node in "${servers[@]}"; do
    printf '  %-10s %8s %8s %8s\n' "$node" "${reads[$node]}" "${writes[$node]}" "${others[$node]}"
  done
}

on() { "$here/stack" sql "$folder" "$@"; }

no_write_on_replicas() { [ "${writes[replica1]}" = 0 ] && [ "${writes[replica2]}" = 0 ] && [ "${writes[primary]}" -gt 20 ]; }
reads_on_both_replicas() { [ "${reads[replica1]}" -gt 20 ] && [ "${reads[replica2]}" -gt 20 ]; }
primary_has_all() { [ "${reads[primary]}" -gt 200 ] && [ "$((reads[replica1] + reads[replica2]))" = 0 ]; }

replicas_hold_post() {
  local node
  for node in replica1 replica2; do
    [ "$(on "$node" "SELECT post_title FROM wordpress.wp_posts WHERE ID = $post")" = "$post_title" ] || return 1
  done
}

# A write of a replica's own would stand in its position under its own name.
replicas_not_diverged() {
  local node own
  for node in replica1 replica2; do
    case $DB in
      mariadb) own=$(on "$node" "SELECT @@gtid_binlog_state REGEXP CONCAT('-', @@server_id, '-')");;
      mysql97) own=$(on "$node" "SELECT INSTR(@@gtid_executed, @@server_uuid) > 0");;
    esac
    [ "$own" = 0 ] || return 1
  done
}

print_routes() {
  echo "what Forebay routed where, and why"
  curl --silent --show-error "http://$FOREBAY_ADMIN/metrics" |
    sed -n -E 's/^forebay_route_total\{(.*)\} ([0-9.e+]+)$/\2 \1/p' | sort -rn | sed 's/^/  /'
}

print_addresses() {
  echo "addresses"
  address "http://$WORDPRESS/" "the site"
  address "http://$WORDPRESS/wp-admin/" "log in as $user / $password"
  [ -z "$FOREBAY" ] || address "$FOREBAY" "Forebay, as a MySQL server: wordpress / wordpress"
  [ -z "$FOREBAY_ADMIN" ] || address "http://$FOREBAY_ADMIN/metrics" "Forebay's metrics"
  address "$PRIMARY" "the primary; its replicas are $REPLICA1 and $REPLICA2"
}

address() { printf '  %-34s %s\n' "$1" "$2"; }
