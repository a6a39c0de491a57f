# Stands in for nats:2.15.1-alpine: the same release, from the Python wheel of the dev stack.
FROM fanzha-offline/debian:bookworm
COPY nats-server /usr/local/bin/nats-server
EXPOSE 4222 8222
CMD ["nats-server"]
