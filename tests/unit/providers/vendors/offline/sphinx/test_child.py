"""The child process by itself: its protocol, and that it goes when nobody needs it."""

import asyncio
import os
import signal
import sys
import textwrap
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator

import pytest

from mimi_mqtt.providers.vendors.offline.sphinx.messages import (
    HEADER,
    READY,
    REQUEST,
    Heard,
    pack_request,
    parse_answer,
    parse_ready,
)
from tests.unit.providers.vendors.offline.spoken import through_opus, utterance

MODULE = "mimi_mqtt.providers.vendors.offline.sphinx.child"


async def started(*arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )


@pytest.fixture
async def child() -> AsyncIterator[Process]:
    process = await started("-m", MODULE)
    number, body = await read(process)
    assert (number, parse_ready(body)) == (READY, "")
    yield process
    if process.returncode is None:
        process.kill()
    await process.communicate(b"")


async def read(process: Process) -> tuple[int, bytes]:
    assert process.stdout is not None
    number, length = HEADER.unpack(await process.stdout.readexactly(HEADER.size))
    return number, await process.stdout.readexactly(length)


async def write(process: Process, data: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(data)
    await process.stdin.drain()


async def test_requests_are_answered_in_order_and_nothing_is_printed(child: Process) -> None:
    pcm = through_opus(utterance("what time is it")).tobytes()
    await write(child, pack_request(5, pcm, commands=True) + pack_request(6, b"", commands=True))
    number, body = await read(child)
    assert number == 5
    assert parse_answer(body).text == "what time is it"
    number, body = await read(child)
    assert (number, parse_answer(body)) == (6, Heard("", False, None))
    output, errors = await child.communicate(b"")
    assert (output, errors) == (b"", b"")
    assert child.returncode == 0


async def test_a_request_that_is_too_long_ends_it(child: Process) -> None:
    await write(child, REQUEST.pack(1, 2**31, True))
    assert await child.wait() == 0


async def test_a_request_that_is_cut_off_ends_it(child: Process) -> None:
    await write(child, REQUEST.pack(1, 1000, True) + b"short")
    assert child.stdin is not None
    child.stdin.close()
    assert await child.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_what_stops_the_whole_group_is_the_parents_business(
    child: Process, number: signal.Signals
) -> None:
    child.send_signal(number)
    await write(child, pack_request(1, b"", commands=True))
    assert (await read(child))[0] == 1


async def test_it_runs_at_the_niceness_that_it_is_told() -> None:
    process = await started("-m", MODULE, "5")
    assert (await read(process))[0] == READY
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 5)
    await process.communicate(b"")
    assert process.returncode == 0


async def test_it_dies_with_its_parent() -> None:
    parent_program = f"""
        import subprocess, sys
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child = subprocess.Popen([sys.executable, "-m", {MODULE!r}], **pipes)
        child.stdout.read(1)
        print(child.pid, flush=True)
        sys.stdin.read()
    """
    parent = await started("-c", textwrap.dedent(parent_program))
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    descriptor = os.pidfd_open(pid)
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, gone.set)
    parent.kill()
    async with asyncio.timeout(10):
        await gone.wait()
    loop.remove_reader(descriptor)
    os.close(descriptor)
    await parent.communicate(b"")
