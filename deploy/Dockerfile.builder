# The same image from sources, for those who reach a registry:
#
#   docker build --file deploy/Dockerfile.builder --tag forebay .
#
# It runs the same command as `make image` does. The builder's architecture is the image's.
FROM rust:1.95-slim-bookworm AS builder

# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends binutils make musl-tools \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY . .
RUN make static STATIC=/out/forebay

FROM scratch

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Forebay" \
      org.opencontainers.image.description="A read/write-splitting MySQL proxy for WordPress" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=builder /out/forebay /forebay
USER 65532:65532
EXPOSE 3306 9090
ENTRYPOINT ["/forebay"]
CMD ["run", "--config", "/etc/forebay/forebay.toml"]
