# syntax=docker/dockerfile:1

# Which Bun image builds does not matter: scripts/build uses the Bun of .bun-version, and fetches it where the image's is another.
ARG BUN_IMAGE_TAG=1

FROM --platform=$BUILDPLATFORM oven/bun:${BUN_IMAGE_TAG} AS build
WORKDIR /src
COPY . .
ARG TARGETARCH
ARG VERSION
ARG COMMIT
ARG SOURCE_DATE_EPOCH
RUN ./scripts/build --platform "linux-${TARGETARCH}" && mv "dist/ingress-linux-${TARGETARCH}" /ingress

# glibc, certificates and time zones; no shell, no OpenSSL.
FROM gcr.io/distroless/base-nossl-debian12
LABEL org.opencontainers.image.title="OpenSandbox Ingress" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build --chmod=0755 /ingress /ingress
WORKDIR /
EXPOSE 28888 28889
# Any user will do; the binary writes nothing.
USER 65532:65532
ENTRYPOINT ["./ingress"]
