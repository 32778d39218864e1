"""Unloading: local models that nobody has used for a while give their memory back while it is short."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from prometheus_client import Counter

from mimi_mqtt.machine_memory import Memory, available_memory
from mimi_mqtt.providers.runtime.local_model import LocalModel, loaded_models
from mimi_mqtt.supervision import SupervisedLoop

_log = logging.getLogger(__name__)

EVERY_S: Final = 20.0
"""Seconds between two looks; at each, one model at most is unloaded, so that the next one sees the effect."""
SHORT_SHARE: Final = 0.1
"""Memory is short while less than this share of it is available…"""
LEAST_SHORT_BYTES: Final = 128 * 1024**2
"""…or less than this, however small the machine…"""
MOST_SHORT_BYTES: Final = 512 * 1024**2
"""…but never while more than this is available."""

_unloads = Counter("mimi_model_unloads_total", "Idle local models that were unloaded.", ["provider"])


class IdleUnloading:
    """Unloads models while `aclose` was not called; `idle_min` tells after how many minutes, 0: never."""

    def __init__(
        self,
        idle_min: Callable[[], int],
        memory: Callable[[], Memory] = available_memory,
        models: Callable[[], Sequence[LocalModel[Any]]] = loaded_models,
    ) -> None:
        self._idle_min = idle_min
        self._memory = memory
        self._models = models
        self._loop = SupervisedLoop("unloading of idle models", self._round, every_s=EVERY_S)

    @property
    def healthy(self) -> bool:
        """True while it looks."""
        return self._loop.healthy

    def start(self) -> None:
        """Starts looking on the running loop."""
        self._loop.start()

    async def aclose(self) -> None:
        """Looks no more."""
        await self._loop.aclose()

    async def _round(self) -> None:
        self.look()

    def look(self) -> None:
        """Unloads the model that has been idle for longest, if that is long enough and memory is short."""
        bound_s = 60.0 * self._idle_min()
        idle = [(seconds, model) for model in self._models() if (seconds := model.idle_s) is not None]
        if not bound_s or not idle:
            return
        seconds, model = max(idle, key=lambda found: found[0])
        if seconds < bound_s:
            return
        memory = self._memory()
        if memory.available >= short_bytes(memory.total):
            return
        model.unload()
        _unloads.labels(model.provider).inc()
        _log.info(
            "the model of %s was unloaded: unused for %.0f min, and only %d MB of memory are available",
            *(model.provider, seconds / 60, memory.available // 1_000_000),
        )


def short_bytes(total: int) -> int:
    """The available memory below which it is short, of `total`."""
    return min(MOST_SHORT_BYTES, max(LEAST_SHORT_BYTES, int(total * SHORT_SHARE)))
