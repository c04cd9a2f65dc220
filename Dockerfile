# syntax=docker/dockerfile:1

# Only for npm and bash: scripts/lib.sh fetches the Bun of .bun-version, with the integrity of scripts/bun-integrity.txt.
FROM --platform=$BUILDPLATFORM node:22-bookworm@sha256:363e1587494626837fa7f9a23bdb453d13b0ff3c67c705c2805cfc69c2d2fad7 AS build
WORKDIR /src
# Only this stage contains the compiled-in packages.
ARG BUILDKIT_SBOM_SCAN_STAGE=true
ARG TARGETARCH
# Bun and the dependencies, in a layer that does not change with the source.
COPY .bun-version bun.lock bunfig.toml package.json ./
COPY scripts/lib.sh scripts/bun-integrity.txt scripts/fetch ./scripts/
RUN ./scripts/fetch "linux-${TARGETARCH}"
COPY tsconfig.json ./
COPY scripts ./scripts
COPY src ./src
ARG VERSION
ARG COMMIT
ARG SOURCE_DATE_EPOCH
RUN ./scripts/build --platform "linux-${TARGETARCH}" && mv "dist/ingress-linux-${TARGETARCH}" /ingress

# glibc, certificates and time zones; no shell, no OpenSSL.
FROM gcr.io/distroless/base-nossl-debian12:latest@sha256:36e60081779eefd6a7dc9796e6aafaecd632bc282a8ba76fdb7c8f89a75ea6c7
LABEL org.opencontainers.image.title="OpenSandbox Ingress" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build --chmod=0755 /ingress /ingress
WORKDIR /
EXPOSE 28888 28889
# Any user works; the binary writes no file.
USER 65532:65532
ENTRYPOINT ["./ingress"]
