#!/bin/sh
# Runs Alertmanager with alertmanager.yml and the receivers that secrets/alerts.env names: start.sh OPTION… (docker-compose.yml).
# The result holds addresses that are secrets, so it stands in memory: /tmp.
set -eu
here=$(dirname "$0")
. "${ALERTS_FILE:-/run/secrets/alerts}"
: "${ALERT_WEBHOOK_URL:=}" "${ALERT_PAGE_WEBHOOK_URL:=}" "${ALERT_MAIL_TO:=}" "${ALERT_PAGE_MAIL_TO:=}"
: "${ALERT_MAIL_FROM:=}" "${ALERT_SMTP:=}" "${ALERT_SMTP_USER:=}" "${ALERT_SMTP_PASSWORD:=}"
out="${ALERTS_OUT:-/tmp/alertmanager.yml}"
umask 077

quoted() { # as a YAML string
    printf "'%s'" "$(printf %s "$1" | sed "s/'/''/g")"
}

receiver() { # NAME WEBHOOK_URL MAIL_TO
    echo "  - name: $1"
    if [ -n "$2" ]; then
        echo "    webhook_configs:"
        echo "      - { send_resolved: true, url: $(quoted "$2") }"
    fi
    if [ -n "$3" ]; then
        echo "    email_configs:"
        echo "      - send_resolved: true"
        echo "        to: $(quoted "$3")"
        echo "        from: $(quoted "$ALERT_MAIL_FROM")"
        echo "        smarthost: $(quoted "$ALERT_SMTP")"
        [ -z "$ALERT_SMTP_USER" ] || echo "        auth_username: $(quoted "$ALERT_SMTP_USER")"
        [ -z "$ALERT_SMTP_USER" ] || echo "        auth_password: $(quoted "$ALERT_SMTP_PASSWORD")"
    fi
}

{
    sed '/^receivers:/,$d' "$here/alertmanager.yml"
    echo "receivers:"
    receiver page "${ALERT_PAGE_WEBHOOK_URL:-$ALERT_WEBHOOK_URL}" "${ALERT_PAGE_MAIL_TO:-$ALERT_MAIL_TO}"
    receiver ticket "$ALERT_WEBHOOK_URL" "$ALERT_MAIL_TO"
} > "$out"

exec "${ALERTMANAGER:-/bin/alertmanager}" "--config.file=$out" "$@"
