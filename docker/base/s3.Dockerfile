# The S3 server of the tests: s3s-fs, with creates that exclude each other, which Delta commits need. The context is made
# by build.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin s3 \
    && install -d -o s3 -m 0750 /data
COPY s3-server /usr/local/bin/
USER 10001
VOLUME /data
EXPOSE 9000
ENTRYPOINT ["tini", "--", "s3-server", "--listen", "0.0.0.0:9000"]
