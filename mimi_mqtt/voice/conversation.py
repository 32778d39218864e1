"""One session's conversation: who is listening, thinking or speaking, turn after turn."""

from mimi_mqtt.voice.events import AudioFormat, Output
from mimi_mqtt.voice.services import Tools, VoiceServices
from mimi_mqtt.wire.messages import ListenMode


class Conversation:
    """Drives the turns of one session. All methods but the `async` ones return at once and never raise."""

    last_activity: float
    """When the user or the assistant last did something (loop time, s). Silence sent as audio is not activity."""

    busy: bool
    """Whether a turn is thinking or speaking."""

    def __init__(
        self,
        *,
        device_id: str,
        session_id: str,
        uplink: AudioFormat,
        downlink: AudioFormat,
        output: Output,
        tools: Tools,
        services: VoiceServices,
        language: str,
    ) -> None:
        raise NotImplementedError

    def listen(self, mode: ListenMode) -> None:
        """The device started to listen (`listen start`)."""

    def stop_listening(self) -> None:
        """The device stopped listening (`listen stop`): the utterance is over."""

    def wake_word(self, text: str) -> None:
        """The device heard its wake word (`listen detect`); what follows is `session.wake_word`'s choice."""

    def audio(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
        """One believed uplink packet; `now` is the loop's clock."""

    def abort(self, reason: str) -> None:
        """The device wants silence now."""

    def announce(self, text: str) -> None:
        """Speaks `text` as a turn of its own, after whatever turn is running."""

    async def drain(self, within_s: float) -> None:
        """Lets the sentence being spoken end, for at most `within_s`; no new turn begins after it."""

    async def aclose(self) -> None:
        """Ends the running turn and everything it started; safe to call twice."""
