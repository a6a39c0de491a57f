#!/bin/sh
# Runs the NATS server on a data folder: start.sh FOLDER nats-server OPTION… In the image and in the dev stack alike.
#
# Until there were accounts (permissions.conf) all streams were in the server's global one, and a server with accounts does not
# look there. What it finds there becomes the account's of the streams, with every message and what each durable has read.
set -eu
data=$1
shift
before="$data/jetstream/\$G" now="$data/jetstream/BUS"
if [ -d "$before/streams" ] && [ ! -e "$now" ]; then
    mv "$before" "$now"
fi
exec "$@" -sd "$data"
