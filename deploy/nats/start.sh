#!/bin/sh
# Runs the NATS server on a data folder: start.sh FOLDER nats-server OPTION… In the image and in the dev stack alike.
#
# Until there were accounts (permissions.conf) all streams were in the server's global one, and a server with accounts does not
# look there. What it finds there becomes the account's of the streams, with every message and what each durable has read.
set -eu
data=$1
shift

# The server reads the value of a variable as configuration, and its clients take a password as it stands in their URL: only a
# word means the same to both.
for name in $(env | sed -n 's/^\(NATS_[A-Z_]*PASSWORD\)=.*/\1/p'); do
    eval "password=\$$name"
    case $password in
    [!A-Za-z]* | *[!A-Za-z0-9_]* | "")
        echo "$name：NATS 的口令只能用字母、数字和下划线，以字母开头（secrets/nats.env，以及用它的 NATS_URL）" >&2
        exit 1
        ;;
    esac
done

: "${NATS_MAX_FILE:=16GB}"
export NATS_MAX_FILE
before="$data/jetstream/\$G" now="$data/jetstream/BUS"
if [ -d "$before/streams" ] && [ ! -e "$now" ]; then
    mv "$before" "$now"
fi
exec "$@" -sd "$data"
