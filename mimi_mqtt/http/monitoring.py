"""Pages for machines that watch the server: /healthz and /metrics, and who may read them."""

import hmac
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mimi_mqtt.config import HttpSettings
from mimi_mqtt.http.clients import is_local
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.http.replies import error_reply, json_reply

METRICS_CACHE_S: Final = 1.0
"""Seconds for which /metrics is answered with what was collected once."""

_blocks = Gauge(
    "mimi_python_blocks",
    "Blocks of memory in use by Python (sys.getallocatedblocks): they grow with a leak, and not with the "
    "free memory that an allocator keeps, as the resident memory does.",
)
_blocks.set_function(sys.getallocatedblocks)


class Readers:
    """Readers of metrics and of details of health, as http.metrics says."""

    def __init__(self, settings: HttpSettings) -> None:
        self._mode = settings.metrics
        token = settings.metrics_token
        self._token = token.get_secret_value().encode() if token is not None else b""

    @property
    def by_token(self) -> bool:
        """True when a token lets other machines read."""
        return self._mode == "token"

    def allow(self, request: Request) -> bool:
        """True when the client of a request is one of them."""
        if self._mode == "open" or is_local(request.scope):
            return True
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return (
            self.by_token
            and scheme.lower() == "bearer"
            and hmac.compare_digest(token.strip().encode("utf-8", "surrogateescape"), self._token)
        )


class Monitoring:
    """The two endpoints. `health` is called for every check; `clock` is monotonic seconds."""

    def __init__(
        self,
        readers: Readers,
        health: Callable[[], Mapping[str, PartHealth]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._readers = readers
        self._health = health
        self._clock = clock
        self._metrics = b""
        self._collected_at: float | None = None

    def routes(self) -> list[Route]:
        """Their routes."""
        return [Route("/healthz", self.healthz), Route("/metrics", self.metrics)]

    async def healthz(self, request: Request) -> Response:
        """State of the server; the part that does not work is told to readers only."""
        parts = self._health()
        down = [name for name, part in parts.items() if not part.ok]
        answer: dict[str, object] = {"status": "down" if down else "ok"}
        if self._readers.allow(request):
            answer["parts"] = {name: {"ok": part.ok, "detail": part.detail} for name, part in parts.items()}
        return json_reply(answer, 503 if down else 200)

    async def metrics(self, request: Request) -> Response:
        """All metrics in Prometheus' text format."""
        if not self._readers.allow(request):
            if self._readers.by_token:
                message = "/metrics needs the header Authorization: Bearer and http.metrics_token"
                return error_reply(401, message, {"WWW-Authenticate": "Bearer"})
            return error_reply(403, "/metrics is read on the server's machine only: see http.metrics")
        now = self._clock()
        if self._collected_at is None or now - self._collected_at >= METRICS_CACHE_S:
            self._metrics, self._collected_at = generate_latest(), now
        return Response(self._metrics, media_type=None, headers={"Content-Type": CONTENT_TYPE_LATEST})
