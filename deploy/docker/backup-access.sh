#!/bin/sh
# Before the daily backup (docker-compose.yml, `backup-access`): the group of our containers may read what is to be backed up, and the
# backups belong to them. Each container still sees only the files that are mounted in it. May be repeated.
set -eu
group=10001
chgrp -R "$group" /secrets /deployment/.env
chmod -R g+rX /secrets /deployment/.env

chown "$group:$group" /backups
for each in /backups/.lock /backups/backup.prom /backups/expiry.prom /backups/fanzha-[0-9]*T[0-9]*Z; do
    [ ! -e "$each" ] || chown -R "$group:$group" "$each" # nothing else in the folder is ours
done
