#!/bin/sh
# What docker-compose.yml uses of the official image's entrypoint: a data folder made on the first start.
set -eu
if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
    scratch="$PGDATA.new" # becomes the data folder at the end: a half-made one is never taken for real
    rm -rf "$scratch"
    mkdir -p -m 0700 "$scratch"
    # Word splitting is how the official image reads its options too.
    initdb --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" --no-instructions -D "$scratch" ${POSTGRES_INITDB_ARGS:-}
    echo "host all all all scram-sha-256" >> "$scratch/pg_hba.conf"
    mv "$scratch" "$PGDATA"
fi
exec "$@"
