#!/usr/bin/env bash
# Probes, over the socket: they need no password in the manifest and leave the network's counters alone.
#
#   probe.sh alive    the server answers; a slow disk or a dead primary does not kill it
#   probe.sh ready    and the pod has caught up once; it stays ready while the primary is away, or
#                     all replicas would leave their Service together with it
# shellcheck source-path=SCRIPTDIR source=lib.sh
source /scripts/lib.sh

[ "$1" != ready ] || [ -e "$joined" ] || { echo "has not caught up yet"; exit 1; }
exec mysqladmin --defaults-file=/conf/keeper.cnf --connect-timeout=4 --silent ping
