"""The tool that tells date and time, here or elsewhere: `get_time`.

A prompt that says the minute is another one each minute, which costs a speech-to-speech service its memory of
the old one; so that is asked for when it is wanted.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mimi_mqtt.errors import ToolError
from mimi_mqtt.providers.contract.chat import ToolSpec
from mimi_mqtt.tools.registry import Tool

_MAX_ZONE_CHARS: Final = 64

_SPEC: Final = ToolSpec(
    name="get_time",
    description="Tells the present date and time: where the user is, or in a time zone such as Asia/Tokyo.",
    parameters={
        "type": "object",
        "properties": {"timezone": {"type": "string", "maxLength": _MAX_ZONE_CHARS, "default": ""}},
    },
    read_only=True,
)


class Clock:
    """The user's clock. `timezone` None is this machine's; `now` takes a zone (None: this machine's) and is
    for tests."""

    def __init__(
        self,
        timezone: str | None,
        now: Callable[[ZoneInfo | None], datetime] = lambda zone: datetime.now(zone),
    ) -> None:
        self._here = ZoneInfo(timezone) if timezone else None
        self._now = now
        self._tools = (Tool(_SPEC, self._run),)

    def tools(self) -> Sequence[Tool]:
        """The one tool."""
        return self._tools

    async def _run(self, arguments: Mapping[str, Any]) -> str:
        name = str(arguments.get("timezone") or "")
        try:
            zone = ZoneInfo(name) if name else self._here
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ToolError(f"there is no time zone {name!r}; it is named such as Europe/Berlin") from error
        now = self._now(zone)
        return f"{now:%A}, {now.day} {now:%B %Y}, {now:%H:%M}" + (f" in {name}" if name else "")
