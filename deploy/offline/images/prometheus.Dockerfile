# Stands in for prom/prometheus, with Debian's version of it.
FROM fanzha-offline/debian:bookworm
RUN apt-get update -qq \
 && apt-get install -qq -y --no-install-recommends prometheus > /dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
 && install --directory --owner=nobody --group=nogroup /prometheus
USER nobody
ENTRYPOINT ["/bin/prometheus"]
