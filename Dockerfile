# syntax=docker/dockerfile:1
# Two images: `voice` (the last stage, so the default) has the engines of local models and the small set of a language;
# `slim` has neither and speaks as `./scripts/serve --minimal` does:
#   docker build --target slim .
#   docker build --build-arg LANGUAGE=vi .     the set of Vietnamese beside the English one
# The release workflow builds with BASE by digest: BASE=python:3.13-slim-bookworm@sha256:…, which it records as the
# label org.opencontainers.image.base.digest.
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
# g++ builds aec-audio-processing, which has no wheel for Linux.
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
ENV PATH=/opt/build/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements ./requirements
RUN python -m venv /opt/build \
    && pip install --require-hashes -r requirements/build.txt \
    && pip wheel --wheel-dir /wheels --no-build-isolation --require-hashes \
        -r requirements/minimal.txt -r requirements/aec.txt
# The web app: Node comes as a Python package by requirements/node.txt, its packages by web/package-lock.json.
COPY scripts/web ./scripts/web
COPY web ./web
RUN install -d mimi_mqtt/http/web && MIMI_VENV=/opt/build ./scripts/web build
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY mimi_mqtt ./mimi_mqtt
RUN pip wheel --wheel-dir /wheels --no-build-isolation --no-deps . \
    && python -m venv --without-pip /opt/mimi \
    && pip --python /opt/mimi/bin/python install --no-index --no-deps /wheels/*.whl

FROM build AS build-voice
# The versions of minimal.txt are those of server.txt: what is there stays.
RUN pip wheel --wheel-dir /engines --no-build-isolation --require-hashes -r requirements/server.txt \
    && pip --python /opt/mimi/bin/python install --no-index --no-deps /engines/*.whl
ARG LANGUAGE=en
RUN /opt/mimi/bin/mimi-mqtt models install --language en --language "${LANGUAGE}" --yes --models-dir /models

# For the characters that the screens of devices lack.
FROM ${BASE} AS fonts
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        fonts-dejavu-core fonts-droid-fallback fonts-symbola fonts-unifont \
    && rm -rf /var/lib/apt/lists/*

FROM ${BASE} AS runtime
RUN apt-get update \
    && apt-get install -y --no-install-recommends libopus0 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 mimi \
    && useradd --system --uid 10001 --gid mimi --home-dir /data --shell /usr/sbin/nologin mimi \
    && install -d -o mimi -g mimi -m 0700 /data \
    && install -d -o mimi -g mimi -m 0755 /models
ENV PATH=/opt/mimi/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MIMI_SERVER__DATA_DIR=/data \
    MIMI_PROVIDERS__MODELS_DIR=/models \
    # Set here so that a taken port is an error: a port that moved would not be the published one.
    MIMI_MQTT__BIND=0.0.0.0:1883 \
    MIMI_UDP__BIND=0.0.0.0:8884 \
    MIMI_HTTP__BIND=0.0.0.0:8003
WORKDIR /data
USER 10001:10001
EXPOSE 1883 8883 8003 8884/udp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8003/healthz', timeout=4)"]
ENTRYPOINT ["mimi-mqtt"]
CMD ["serve"]

FROM runtime AS slim
COPY --from=build /opt/mimi /opt/mimi
VOLUME /data /models

FROM runtime AS voice
COPY --from=fonts /usr/share/fonts /usr/share/fonts
COPY --from=build-voice /opt/mimi /opt/mimi
COPY --from=build-voice --chown=10001:10001 /models /models
VOLUME /data /models
