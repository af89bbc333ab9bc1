# A Rust toolchain of the host, under the paths of the published image. The context is made by build.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY toolchain /usr/local
ENV CARGO_HOME=/usr/local/cargo
