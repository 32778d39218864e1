"""Interactive mode: lines typed by a person become turns, in their order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from mimi_mqtt.cli.device.script import Spoken, read_line
from mimi_mqtt.cli.device.talking import Talking
from mimi_mqtt.errors import ConfigError, ProviderError


async def talk_as_typed(
    lines: AsyncIterator[str],
    talking: Talking,
    speech: Callable[[str], Awaitable[Spoken]],
    have_turn: Callable[[Spoken], Awaitable[object]],
    remark: Callable[[str], None],
) -> None:
    """Has a turn for each line until `/quit` or the end of `lines`.

    A line waits for the turn before it, but `/abort` interrupts its answer. `speech` makes a text's audio;
    what can't be spoken is a remark, and so is a missing microphone.
    """
    loop = asyncio.get_running_loop()
    turn: asyncio.Task[object] | None = None

    async def one_turn(spoken: Spoken) -> object:
        return await have_turn(spoken)

    async def finished() -> None:
        if turn is not None:
            try:
                await turn
            except ConfigError as error:
                remark(str(error))

    try:
        async for typed in lines:
            line = read_line(typed)
            if line is None:
                talking.release_button()
                continue
            if line.kind == "abort":
                if not talking.abort():
                    remark("there is no answer to interrupt")
                continue
            await finished()
            turn = None
            match line.kind:
                case "quit":
                    break
                case "unknown":
                    remark(f"there is no command {line.text}")
                    continue
                case "mic":
                    spoken = Spoken(None, microphone=True)
                case "say":
                    try:
                        spoken = await speech(line.text)
                    except (ConfigError, ProviderError) as error:
                        remark(str(error))
                        continue
            turn = loop.create_task(one_turn(spoken))
            await asyncio.sleep(0)  # it runs before the next line is read
        await finished()
    finally:
        if turn is not None and not turn.done():
            turn.cancel()
            await asyncio.wait([turn])
