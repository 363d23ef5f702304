# shellcheck shell=bash
# WordPress behind PHP's own web server: Debian's package, copied, with our wp-config.php.

# Its only database is Forebay; without one, the primary.
start_site() {
  local as=() salt
  ! process_of wordpress >/dev/null || return 0
  [ -z "$AS_ROOT" ] || as=(setpriv --reuid=www-data --regid=www-data --clear-groups)
  read -r salt <"$DIR/wordpress/salt"
  spawn wordpress "${as[@]}" env PHP_CLI_SERVER_WORKERS=6 "WORDPRESS_SALT=$salt" \
    "WORDPRESS_DB_HOST=${FOREBAY:-$PRIMARY}" "WORDPRESS_URL=http://$WORDPRESS" \
    WORDPRESS_DB_NAME=wordpress WORDPRESS_DB_USER=wordpress WORDPRESS_DB_PASSWORD=wordpress \
    php -d sendmail_path=/bin/true -d memory_limit=256M -d opcache.enable_cli=1 \
    -d display_errors=0 -d log_errors=1 -d error_log=/dev/stderr \
    -S "$WORDPRESS" -t "$DIR/wordpress/site" "$DIR/wordpress/router.php"
  until_true site_answers || true
  process_of wordpress >/dev/null && site_answers || die "WordPress did not start; see $DIR/wordpress/log"
}

site_answers() {
  process_of wordpress >/dev/null || return 0
  curl --silent --fail --output /dev/null "http://$WORDPRESS/readme.html"
}

site_up() {
  local source=${WORDPRESS_FILES:-/usr/share/wordpress}
  need php "stack install wordpress"
  need curl "stack install wordpress"
  [ -e "$source/wp-content/themes/twentytwentythree/style.css" ] ||
    die "WordPress or its theme is missing; install both with: deploy/local/stack install wordpress"
  mkdir -p "$DIR/wordpress"
  # Debian's package is full of links into other packages
  cp -rL "$source" "$DIR/wordpress/site"
  cp "$here/wp-config.php" "$DIR/wordpress/site/wp-config.php"
  cp "$here/router.php" "$DIR/wordpress/router.php"
  mkdir -p "$DIR/wordpress/site/wp-content/uploads"
  [ -z "$AS_ROOT" ] || chown -R www-data "$DIR/wordpress/site/wp-content"
  head -c 32 /dev/urandom | base64 >"$DIR/wordpress/salt"
  start_site
}
