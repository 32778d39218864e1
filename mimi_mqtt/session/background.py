"""Work that must not delay the answer to a hello: tasks with an owner, and tool discovery at its pace."""

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from mimi_mqtt.log import bind_log_context
from mimi_mqtt.session.attachment import Attachment
from mimi_mqtt.tools.device_mcp import NO_VISION, VisionAccess

_log = logging.getLogger(__name__)

_STARTS_AT_ONCE: Final = 8
_PAUSE_S: Final = 0.005  # 1,600 discoveries begun a second
_PATIENCE_S: Final = 1.0  # hellos that never cease don't put discovery off for longer


class Background:
    """Tasks of many sessions. What is started here is referenced, logged when it fails, and waited for."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(
        self, work: Coroutine[Any, Any, None], name: str, context: contextvars.Context | None = None
    ) -> None:
        """Runs `work` to its end; `context` carries the ids for its log lines."""
        task = asyncio.get_running_loop().create_task(work, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s failed", task.get_name(), exc_info=error)

    async def aclose(self, within_s: float) -> None:
        """Waits for all tasks, at most `within_s`, then cancels what is left."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=within_s)
        if not late:
            return
        names = sorted({task.get_name() for task in late})
        _log.warning("%d tasks did not end in time: %s", len(late), ", ".join(names))
        for task in late:
            task.cancel()
        await asyncio.wait(late, timeout=within_s)


class Discovery:
    """Asks greeted devices for their tools once no more hellos come: a whole fleet's are answered first."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self.vision: Callable[[str], VisionAccess] = lambda device_id: NO_VISION
        """Called with a device: where its camera posts photos, and its token for the present session."""
        self._queue: deque[tuple[Attachment, float]] = deque()  # with the loop time of its hello
        self._timer: asyncio.TimerHandle | None = None
        self._quiet = True

    def want(self, attachment: Attachment) -> None:
        """Queues the device; one that was asked already, or is being asked, is only told of where its photos
        go, if it turns out to have a camera."""
        loop = asyncio.get_running_loop()
        self._queue.append((attachment, loop.time()))
        self._quiet = False
        if self._timer is None:
            self._timer = loop.call_later(_PAUSE_S, self._look)

    def close(self) -> None:
        """Stops asking: those that wait are forgotten."""
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._quiet or loop.time() - self._queue[0][1] > _PATIENCE_S:
                self._start_some()
        finally:
            self._quiet = True
            self._timer = loop.call_later(_PAUSE_S, self._look) if self._queue else None

    def _start_some(self) -> None:
        for _ in range(min(_STARTS_AT_ONCE, len(self._queue))):
            attachment, _ = self._queue.popleft()
            try:
                self._start(attachment)
            except Exception:  # noqa: BLE001 - the border of one device: the others are asked all the same
                _log.exception("a device is not asked for its tools", extra={"device": attachment.device_id})

    def _start(self, attachment: Attachment) -> None:
        if attachment.session is None or not attachment.wants_introduction:
            return
        context = contextvars.copy_context()
        context.run(bind_log_context, device=attachment.device_id)
        access = self.vision(attachment.device_id)
        if attachment.wants_discovery:
            self._background.spawn(attachment.discover(access), "tool discovery", context)
        else:
            self._background.spawn(attachment.renew_vision(access), "renewal of a camera's token", context)
