#!/bin/sh
# Makes the guest book's table if it is not there, then serves: four processes, one request each at a time.
set -eu
python3 -m guestbook migrate
exec python3 -m gunicorn --bind "0.0.0.0:${PORT:-8000}" --workers 4 --worker-tmp-dir /tmp guestbook:application
