"""The record of a finished turn, as the voice hands it to the store; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ProviderUse:
    """One provider's part in a turn: the tokens, seconds of audio and characters that it counted.

    `role` is `stt`, `llm`, `tts` or `s2s`, `name` as in `providers`. Tokens of audio are in the `audio`
    numbers alone. `cost` is in the currency of `providers.prices`; None: the provider has no price.
    """

    role: str
    name: str
    input_tokens: int = 0
    output_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    audio_s: float = 0.0
    characters: int = 0
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class ToolSpan:
    """One tool call of a turn: `at_ms` from the end of the user's speech to its beginning, `ms` its length.

    `failed`: it ended with an error, or was cancelled.
    """

    name: str
    at_ms: float
    ms: float
    failed: bool = False


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One finished turn. `started_at` is in UTC; `timings_ms` is from the end of the user's speech
    (see `voice.timings`), `number` from 1.

    Longer texts than the tables hold are cut.
    """

    session_id: str
    device_id: str
    number: int
    started_at: datetime
    mode: str
    heard: str
    reply: str
    outcome: str
    timings_ms: Mapping[str, float]
    tools_called: tuple[str, ...] = ()
    tool_spans: tuple[ToolSpan, ...] = ()
    """The calls of tools, in the order in which they ended; the first ones of many."""
    kind: str = ""
    """Cause of the turn, such as `utterance` or `announcement`."""
    agent: str = ""
    """The key of the agent that answered."""
    owner_id: str = ""
    """The account that the device belonged to; empty: nobody's."""
    providers: Mapping[str, str] = field(default_factory=dict)
    """Role -> name of the provider that answered, or of the chain that was to be asked."""
    uses: tuple[ProviderUse, ...] = ()
    """The use of each provider."""
    error: str = ""
    """Kind of the failure, such as `timeout` or `unavailable`; empty: none."""
    error_role: str = ""
    """Role of the provider that failed; empty: none, or not known."""
    heard_s: float = 0.0
    """Length of the user's speech, in seconds."""
    spoken_s: float = 0.0
    """Length of the reply that was heard, in seconds."""

    @property
    def cost(self) -> float | None:
        """The cost of the turn by the price table; None when nothing that was used has a price."""
        costs = [use.cost for use in self.uses if use.cost is not None]
        return sum(costs) if costs else None
