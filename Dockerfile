# syntax=docker/dockerfile:1
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/mimi
COPY pyproject.toml README.md LICENSE ./
COPY mimi_mqtt ./mimi_mqtt
RUN /opt/mimi/bin/pip install --no-cache-dir ".[offline,openai,gemini,anthropic,wyoming,edge,aec,postgres]"

FROM python:3.13-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends libopus0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin mimi \
    && install -d -o mimi -g mimi -m 0700 /data
COPY --from=build /opt/mimi /opt/mimi
ENV PATH=/opt/mimi/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MIMI_SERVER__DATA_DIR=/data \
    # Set here so that a taken port is an error: a port that moved would not be the published one.
    MIMI_MQTT__BIND=0.0.0.0:1883 \
    MIMI_UDP__BIND=0.0.0.0:8884 \
    MIMI_HTTP__BIND=0.0.0.0:8003
WORKDIR /data
VOLUME /data
USER mimi
EXPOSE 1883 8883 8003 8884/udp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8003/healthz', timeout=4)"]
ENTRYPOINT ["mimi-mqtt"]
CMD ["serve"]
