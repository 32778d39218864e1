"""Tasks of one conversation: started under a name, waited for at its end."""

import asyncio
from collections.abc import Coroutine

from mimi_mqtt.supervision import forget_cancellation


class ConversationTasks:
    """Tasks of one conversation."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        """Starts a task."""
        task = self._loop.create_task(work, name=f"turn-{self._session_id}-{name}")
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        forget_cancellation(task)  # its frames hold the turn, and that the task

    async def wait(self, within_s: float) -> None:
        """Returns when all but the caller's own are done."""
        await asyncio.wait(self._running - {asyncio.current_task()}, timeout=within_s)
