# Valkey, for the chart's `state.valkey`: Debian's package, which a base made of Debian's packages has already.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
# hadolint ignore=DL3008
RUN command -v valkey-server \
    || { apt-get update && apt-get install --yes --no-install-recommends valkey-server && rm -rf /var/lib/apt/lists/*; }
USER 65534:65534
ENTRYPOINT ["valkey-server"]
