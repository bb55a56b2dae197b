# syntax=docker/dockerfile:1

# The full image of Debian 12 holds what librdkafka, OpenSSL and SQLite are built with: gcc, g++, make, perl.
ARG RUST_VERSION=1.95
FROM rust:${RUST_VERSION}-bookworm AS build
WORKDIR /src
COPY . .
# The caches keep compiled dependencies between builds; the binary leaves them because they are not part of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin drover \
    && install -m 0755 target/release/drover /usr/local/bin/drover

FROM debian:12-slim
# The certificates of public authorities, for Kafka and PostgreSQL over TLS.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 drover \
    && useradd --system --uid 10001 --gid drover --no-create-home --home-dir /var/lib/drover drover \
    && install -d -o drover -g drover -m 0750 /var/lib/drover
COPY --from=build /usr/local/bin/drover /usr/local/bin/drover
USER 10001:10001
# For drover.toml, and for the SQLite store where one is used.
WORKDIR /var/lib/drover
EXPOSE 8080
# The default; said here because the drain depends on it. Give it longer than shutdown.grace (30 s) before SIGKILL.
STOPSIGNAL SIGTERM
ENTRYPOINT ["drover"]
CMD ["run"]
