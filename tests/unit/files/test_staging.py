"""Files that are being received: what is left of them when their task is cancelled."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mimi_mqtt.files.staging import WRITE_BYTES, Staging
from tests.fakes.blobs import parts


@pytest.mark.parametrize("step", ["open", "write"])
async def test_a_cancelled_upload_leaves_neither_a_descriptor_nor_a_file(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its thread is doing just then."""
    loop, begun, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    loop.set_default_executor(ThreadPoolExecutor(1))
    real_open, real = os.open, getattr(os, step)
    opened: list[int] = []

    def waits(*given: Any) -> Any:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(30)
        return real(*given)

    def noted(path: Any, *given: Any) -> int:
        opened.append(waits(path, *given) if step == "open" else real_open(path, *given))
        return opened[-1]

    async def receive() -> None:
        async with Staging(tmp_path / "incoming").receive(
            parts(bytes(WRITE_BYTES)), max_bytes=1 << 20, room=1 << 20
        ):
            pass

    with monkeypatch.context() as slow:
        slow.setattr(os, step, waits)
        slow.setattr(os, "open", noted)
        receiving = asyncio.create_task(receive())
        await begun.wait()
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        for descriptor in opened:
            os.fstat(descriptor)  # not closed, and maybe another's, while it is written
        go_on.set()
        await asyncio.to_thread(int)  # the only thread is done with the file
    (descriptor,) = opened
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert not list((tmp_path / "incoming").iterdir())
