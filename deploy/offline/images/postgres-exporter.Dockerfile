# Stands in for prometheuscommunity/postgres-exporter, with Debian's version of it.
FROM fanzha-offline/debian:bookworm
RUN apt-get update -qq \
 && apt-get install -qq -y --no-install-recommends prometheus-postgres-exporter > /dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
 && ln -s prometheus-postgres-exporter /usr/bin/postgres_exporter
USER nobody
ENTRYPOINT ["/bin/postgres_exporter"]
