#!/bin/sh
# Gives each service its database and roles, and those who watch theirs (docker-compose.yml, `provision`). May be repeated.
set -eu
. /run/secrets/provision
export PGHOST=postgres PGUSER=postgres PGDATABASE=postgres PGPASSWORD="$POSTGRES_PASSWORD"

for service in checkin reporting notification certificate; do
    upper=$(echo "$service" | tr '[:lower:]' '[:upper:]')
    eval "OWNER_PASSWORD=\$${upper}_OWNER_PASSWORD APP_PASSWORD=\$${upper}_APP_PASSWORD"
    export OWNER_PASSWORD APP_PASSWORD
    psql -X -q -v service="$service" -f /provision/sql/provision.sql
    echo "provisioned $service"
done

export REPORTING_READER_PASSWORD POSTGRES_EXPORTER_PASSWORD
psql -X -q -f /provision/sql/watchers.sql
echo "provisioned watchers"
