"""Full-duplex use of a connection: audio is sent while results are received."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager


@asynccontextmanager
async def sending(send: Coroutine[object, object, None], hang_up: Callable[[], None]) -> AsyncIterator[None]:
    """Runs `send` beside the body and ends it with the body.

    When `send` fails it hangs up, which ends the body's wait for results, and its error is raised.
    """

    async def run() -> None:
        try:
            await send
        except Exception:
            hang_up()
            raise

    task = asyncio.create_task(run(), name="speech on its way to text")
    try:
        yield
    except Exception as error:
        # Who failed first is the cause; a lost connection is the same to both.
        if task.done() and not task.cancelled() and (cause := task.exception()) is not None:
            raise cause from error
        raise
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        send.close()  # it may not even have begun
        if not task.cancelled():
            task.exception()  # seen: the body has its answer, or the same error


async def or_idle(audio: AsyncIterator[bytes], idle_s: float) -> AsyncGenerator[bytes | None, None]:
    """The chunks of `audio`, and None whenever there was none for `idle_s` seconds."""
    coming: asyncio.Task[bytes] | None = None
    try:
        while True:
            coming = coming or asyncio.create_task(_next(audio), name="the next piece of speech")
            done, _ = await asyncio.wait([coming], timeout=idle_s)
            if not done:
                yield None
                continue
            chunk, coming = coming.result(), None
            if not chunk:
                return
            yield chunk
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.wait([coming])


async def _next(audio: AsyncIterator[bytes]) -> bytes:
    """The next chunk; empty at the end."""
    return await anext(audio, b"")
