# A Rust toolchain of the host, under the paths of the published image. The context is made by build.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY toolchain /usr/local
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY config.toml /usr/local/cargo/config.toml
ENV CARGO_HOME=/usr/local/cargo
