# shellcheck shell=bash
# Where downloads are kept. Root's home is closed to other accounts on a stock Debian, and a server
# gives root up once it has started: what it opens afterwards (messages of another language, plugins)
# has to be readable for its own account.
if [ "$(id -u)" = 0 ]; then CACHE=${FOREBAY_CACHE:-/var/cache/forebay}; else CACHE=${FOREBAY_CACHE:-$HOME/.cache/forebay}; fi
