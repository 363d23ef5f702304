# shellcheck shell=bash
# The site's account, in a file that the list of processes does not show; gone with the script.
login=$(mktemp)
trap 'rm -f "$login"' EXIT
printf '[client]\nuser="%s"\npassword="%s"\n' "${MYSQL_USER:-wordpress}" "$(cat "$PASSWORD_FILE")" >"$login"
