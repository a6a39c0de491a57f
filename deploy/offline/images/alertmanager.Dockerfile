# Stands in for prom/alertmanager, with Debian's version of it.
FROM fanzha-offline/debian:bookworm
RUN apt-get update -qq \
 && apt-get install -qq -y --no-install-recommends prometheus-alertmanager > /dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
 && ln -s prometheus-alertmanager /usr/bin/alertmanager \
 && install --directory --owner=nobody --group=nogroup /alertmanager
USER nobody
ENTRYPOINT ["/bin/alertmanager"]
