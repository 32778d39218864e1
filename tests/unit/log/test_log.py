"""Log lines: the ids of the task they are written in, as text and as JSON."""

import asyncio
import io
import json
import logging

from mimi_mqtt.log import bind_log_context, log_context, setup_logging


def test_json_line_has_level_message_and_ids() -> None:
    stream = io.StringIO()
    setup_logging("info", "json", stream)
    with log_context(device="aa", session="1"), log_context(turn="2"):
        logging.getLogger("mimi_mqtt.x").info("opened %d", 5, extra={"port": 7})
    entry = json.loads(stream.getvalue())
    assert entry["message"] == "opened 5"
    assert (entry["level"], entry["device"], entry["session"], entry["turn"]) == ("info", "aa", "1", "2")
    assert entry["port"] == 7


def test_text_line_has_the_ids_and_the_traceback() -> None:
    stream = io.StringIO()
    setup_logging("debug", "text", stream)
    with log_context(device="aa"):
        try:
            raise ValueError("bad")
        except ValueError:
            logging.getLogger("mimi_mqtt.x").exception("failed")
    assert "device=aa" in stream.getvalue()
    assert "ValueError: bad" in stream.getvalue()


def test_level_is_obeyed_and_libraries_stay_quiet() -> None:
    stream = io.StringIO()
    setup_logging("warning", "text", stream)
    logging.getLogger("mimi_mqtt.x").info("hidden")
    logging.getLogger("some.library").info("hidden")
    assert stream.getvalue() == ""


async def test_ids_bound_in_a_task_stay_in_it() -> None:
    stream = io.StringIO()
    setup_logging("info", "json", stream)

    async def serve(device: str) -> None:
        bind_log_context(device=device)
        await asyncio.sleep(0)
        logging.getLogger("mimi_mqtt.x").info("served")

    await asyncio.gather(serve("a"), serve("b"))
    logging.getLogger("mimi_mqtt.x").info("outside")
    entries = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [entry.get("device") for entry in entries] == ["a", "b", None]
