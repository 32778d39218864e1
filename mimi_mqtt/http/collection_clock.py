"""The computing time of full garbage collections, which no client has caused by itself."""

import gc
import threading
import time
from collections.abc import Mapping

_OLDEST = 2


class CollectionClock:
    """Measures the collections of the oldest generation, whose cost grows with all objects of the process."""

    def __init__(self) -> None:
        self._of_thread = _OfThread()

    def start(self) -> None:
        """Begins to measure; safe to call twice."""
        if self._told not in gc.callbacks:
            gc.callbacks.append(self._told)

    def stop(self) -> None:
        """Ends measuring; safe to call twice."""
        if self._told in gc.callbacks:
            gc.callbacks.remove(self._told)

    @property
    def seconds(self) -> float:
        """The computing time of the full collections of this thread until now."""
        return self._of_thread.seconds

    def _told(self, phase: str, info: Mapping[str, int]) -> None:
        if info["generation"] != _OLDEST:
            return
        if phase == "start":
            self._of_thread.began = time.thread_time()
        else:
            self._of_thread.seconds += time.thread_time() - self._of_thread.began


class _OfThread(threading.local):
    """A collection runs in the thread whose allocation began it."""

    began = 0.0
    seconds = 0.0
