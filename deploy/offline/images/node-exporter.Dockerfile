# Stands in for prom/node-exporter, with Debian's version of it.
FROM fanzha-offline/debian:bookworm
RUN apt-get update -qq \
 && apt-get install -qq -y --no-install-recommends prometheus-node-exporter > /dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
 && ln -s prometheus-node-exporter /usr/bin/node_exporter
USER nobody
ENTRYPOINT ["/bin/node_exporter"]
