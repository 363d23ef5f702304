# shellcheck shell=bash
# What people do with a WordPress site, over HTTP. Each word is true when the page that came back
# says so: a status of 200 alone proves nothing, an empty page has it too.

user=admin password='forebay-demo-1!'
mark=$RANDOM$RANDOM
post_title="Water over the dam $mark"
post_text="One river comes in, and it feeds many turbines ($mark)."
comment_text="I was here, says the visitor ($mark)."

# get JAR PATH [CURL ARGUMENTS]: the page, redirects followed
get() {
  local jar=$1 path=$2
  shift 2
  curl --silent --show-error --location --max-time 60 --cookie "$folder/$jar.jar" --cookie-jar "$folder/$jar.jar" \
    "$@" "http://$WORDPRESS$path"
}

# has TEXT: reads a page from stdin. No early exit, so that curl is not cut off.
has() { grep -F -- "$1" >/dev/null; }

install_site() {
  get admin "/wp-admin/install.php?step=2" --data-urlencode "weblog_title=Forebay demo" --data-urlencode "user_name=$user" \
    --data-urlencode "admin_password=$password" --data-urlencode "admin_password2=$password" \
    --data pw_weak=on --data-urlencode "admin_email=admin@example.com" --data blog_public=0 --data language= |
    has "WordPress has been installed"
}

log_in() {
  get admin /wp-login.php >/dev/null
  get admin /wp-login.php --data-urlencode "log=$user" --data-urlencode "pwd=$password" --data testcookie=1 \
    --data-urlencode "redirect_to=http://$WORDPRESS/wp-admin/" | has "<h1>Dashboard</h1>"
}

wrong_password_refused() {
  get stranger /wp-login.php >/dev/null
  get stranger /wp-login.php --data-urlencode "log=$user" --data pwd=wrong --data testcookie=1 | has "is incorrect"
}

# api PATH [CURL ARGUMENTS]: the REST interface, as the editor uses it
api() {
  local path=$1 nonce
  shift
  nonce=$(get admin "/wp-admin/admin-ajax.php?action=rest-nonce")
  get admin "/index.php?rest_route=$path" --header "X-WP-Nonce: $nonce" "$@"
}

publish() {
  local answer
  answer=$(api /wp/v2/posts --data-urlencode "title=$post_title" --data-urlencode "content=$post_text" --data status=publish)
  post=$(sed -n -E 's/^\{"id":([0-9]+),.*/\1/p' <<<"$answer")
  [ -n "$post" ]
}

front_page_has_post() { get visitor / | has "$post_title"; }
post_page_has() { get visitor "/?p=$post" | has "$1"; }
editor_has_post() { api "/wp/v2/posts/$post&context=edit" | has "$post_text"; }

leave_comment() {
  get admin /wp-comments-post.php --data "comment_post_ID=$post" --data comment_parent=0 \
    --data-urlencode "comment=$comment_text" | has "$comment_text"
}

change_title() { # [WORDS]
  local title="Forebay ${1:-$mark}"
  api /wp/v2/settings --data-urlencode "title=$title" >/dev/null
  get visitor / | has "$title"
}

# The site is used as long as the lag lasts; a replica that is asked too early gives itself away.
late_replicas_do_not_show() {
  local node i seen=0
  for node in replica1 replica2; do "$here/stack" lag "$folder" "$node" 3 >/dev/null; done
  for i in 1 2 3 4 5; do change_title "late $i $mark" && seen=$((seen + 1)); done
  for node in replica1 replica2; do "$here/stack" lag "$folder" "$node" 0 >/dev/null; done
  [ "$seen" = 5 ]
}

run_cron() { # answers with an empty page; an error would not be empty
  [ -z "$(get cron /wp-cron.php --fail)" ]
}

many_visits() { # COUNT
  local worker
  rm -f "$folder"/incomplete.*
  for worker in 1 2 3 4; do visit_in_turn "$worker" $(($1 / 4)) & done
  # only the visitors; nothing else runs in the background of this shell
  wait
  [ -z "$(find "$folder" -maxdepth 1 -name 'incomplete.*')" ]
}

visit_in_turn() { # WORKER COUNT
  local i page
  for ((i = 0; i < $2; i++)); do
    if [ $((i % 2)) = 0 ]; then page=/; else page="/?p=$post"; fi
    get "visitor$1" "$page" | has "$post_title" || : >"$folder/incomplete.$1.$i"
  done
}
