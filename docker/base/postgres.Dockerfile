# PostgreSQL of Debian, with the variables, folders and first start of the published image (postgres-entrypoint).
FROM debian:bookworm-slim
RUN mkdir -p /etc/postgresql-common \
    && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf \
    && apt-get update \
    && apt-get install -y --no-install-recommends postgresql tini \
    && rm -rf /var/lib/apt/lists/* /usr/lib/postgresql/*/lib/bitcode \
    && install -d -o postgres -g postgres -m 0700 /var/lib/postgresql/data \
    && install -d -o postgres -g postgres -m 3775 /var/run/postgresql \
    && mkdir /docker-entrypoint-initdb.d \
    && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/
COPY postgres-entrypoint /usr/local/bin/
# A folder in the volume, so that it can get its name when it is complete.
ENV PGDATA=/var/lib/postgresql/data/cluster LANG=C.UTF-8
USER postgres
VOLUME /var/lib/postgresql/data
EXPOSE 5432
# As the published image: smart shutdown would wait for every client.
STOPSIGNAL SIGINT
ENTRYPOINT ["tini", "--", "postgres-entrypoint"]
CMD ["postgres"]
