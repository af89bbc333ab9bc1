# The programs built from source, in the layout that the runtime image (Dockerfile) takes them from. The context is the
# root of the repository:
#
#   docker build -t lake-binaries -f docker/source.Dockerfile .
#   docker build -t lake -f docker/Dockerfile docker
#
# Works with BuildKit and with the builder of before.
ARG RUST=rust:1.95-bookworm

FROM ${RUST} AS tools
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential protobuf-compiler python3 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# Manifests, the lock, and in the place of our sources some that say nothing: what is copied from here is the same until
# a dependency changes.
FROM tools AS manifests
COPY . .
RUN find . -type f -name '*.rs' ! -name lib.rs ! -name main.rs ! -name build.rs ! -path '*/bin/*' -delete \
    && find . -type f ! -name '*.rs' ! -name Cargo.toml ! -name Cargo.lock -delete \
    && find . -type f -name lib.rs -exec truncate -s 0 {} + \
    && find . -type f -name '*.rs' ! -name lib.rs -exec sh -c 'for file; do echo "fn main() {}" >"$file"; done' sh {} +

# The dependencies take nearly all of the time. This layer lasts as long as the one above.
FROM tools AS dependencies
COPY --from=manifests /build /build
RUN cargo build --release --locked -p lake

FROM tools AS build
COPY --from=dependencies /usr/local/cargo/registry /usr/local/cargo/registry
COPY --from=dependencies /build/target /build/target
COPY . .
# What stood in for our sources was compiled after they were written, and cargo goes by the time.
RUN find . -path ./target -prune -o -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --offline -p lake \
    && install -D -s -t /lake/usr/local/bin target/release/lake \
    && for name in lake-master lake-worker lake-submit spark-submit; do ln -s lake "/lake/usr/local/bin/$name"; done \
    && install -d /lake/usr/share/doc/lake \
    && scripts/sbom >/lake/usr/share/doc/lake/sbom.spdx.json

FROM scratch
COPY --from=build /lake /
