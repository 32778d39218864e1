"""The interfaces of commands: to live devices (`session.control`), and to the sound of notices."""

from collections.abc import Mapping
from typing import Literal, Protocol

from pydantic import JsonValue

from mimi_mqtt.session.reach import Reach
from mimi_mqtt.store.audit import Author
from mimi_mqtt.voice.notices.recording import Recording
from mimi_mqtt.voice.notices.sound import Sound
from mimi_mqtt.voice.ports import Announcement
from mimi_mqtt.wire.messages import Subtitle

Said = Literal["spoken", "shown"]
"""The way a text reached a device: queued as speech of its session, or shown as an alert without one."""


class DeviceControl(Protocol):
    """Devices as commands reach them. All but `call_tool` return at once, and act at once or not at all."""

    def knows(self, device_id: str) -> bool:
        """True for a device that may connect, connected or not."""

    def connected(self, device_id: str) -> bool:
        """True while the device has a control connection, of any transport."""

    def say(self, device_id: str, text: str) -> Said | None:
        """Speaks `text` when the running turn is over; without a session shows it. None: not connected."""

    def alert(self, device_id: str, status: str, message: str, emotion: str) -> bool:
        """Shows a message. False: not connected."""

    async def call_tool(
        self, device_id: str, tool: str, arguments: Mapping[str, JsonValue], *, user_tools: bool
    ) -> str:
        """Calls a tool of the device or of its session, and returns its result's text.

        With `user_tools` the device's tools for people are there too. Raises ToolError, whose message is for
        a person: not connected, no such tool, a wrong argument, a failure, no answer.
        """

    def play(self, device_id: str, url: str, text: str) -> Reach:
        """Has the device fetch and play the sound at `url`, if that is the way to reach it: the answer is
        `Reach.NOTIFY` then; with any other nothing was done."""

    def reboot(self, device_id: str) -> bool:
        """Restarts the device. False: not connected."""

    def end_session(self, device_id: str, reason: str) -> bool:
        """Ends the session with `goodbye`. False: there is none."""

    def disconnect(self, device_id: str, reason: str) -> bool:
        """Ends the session and the control connection. False: not connected."""


class AgentControl(Protocol):
    """The choice of a device's agent: `fleet.agent_choice.AgentChoice`."""

    async def set_agent(self, device_id: str, agent: str, author: Author) -> None:
        """Gives the device the agent of that name, "" for the default one, from its next session on. Raises
        NotFound and StoreError."""


class NoticeControl(Protocol):
    """Devices as notices reach them. All methods return at once, and act at once or not at all."""

    def knows(self, device_id: str) -> bool:
        """True for a device that may connect, connected or not."""

    def reach(self, device_id: str) -> Reach:
        """The way in which the device can be told something now."""

    def speaker(self, device_id: str) -> tuple[str, str]:
        """The key of the device's agent, and the language in which it is told something."""

    def announce(self, device_id: str, announcement: Announcement) -> bool:
        """Hands an announcement to the device's session. False: it has none, or is away."""

    def notify(self, device_id: str, url: str, subtitles: tuple[Subtitle, ...]) -> bool:
        """Has the idle device fetch and play `url`. False: not connected."""

    def alert(self, device_id: str, status: str, message: str, emotion: str) -> bool:
        """Shows a message. False: not connected."""


class NoticeVoice(Protocol):
    """The sound of notices (`voice.notices`). What it returns is held for the caller, who releases it."""

    async def speak(self, text: str, agent: str, language: str) -> Recording:
        """The speech of `text`, once its beginning can be heard. Raises ProviderError."""

    async def record(self, sound: Sound) -> Recording:
        """The recording of a sound, once its beginning can be heard. Raises AudioError, OggError."""
