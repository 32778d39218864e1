"""Files that are checked while they are received."""

from collections.abc import AsyncIterator, Callable

from mimi_mqtt.errors import Invalid


async def checked(
    parts: AsyncIterator[bytes], feed: Callable[[bytes], None], finish: Callable[[], None]
) -> AsyncIterator[bytes]:
    """The parts of a file, each given to `feed` before; `finish` is called before the end.

    Raises what they raise, which is Invalid, but only once all of the file was read: a client reads the
    answer after it has sent its request.
    """
    try:
        async for part in parts:
            feed(part)
            yield part
        finish()
    except Invalid:
        async for _ in parts:
            pass
        raise
