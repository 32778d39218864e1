"""The earlier part of an utterance whose pause was mistaken for its end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from mimi_mqtt.errors import ProviderError
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.voice.language.words import join
from mimi_mqtt.voice.ports import Spawn

_log = logging.getLogger(__name__)

MAX_PARTS: Final = 4
"""Parts that are joined to one utterance; after them a pause ends it."""


class EarlierPart:
    """`seconds` of audio in `parts`.

    Its words are `known`, or else `transcript` gives them; `close` is called when it isn't needed any more.
    """

    def __init__(
        self,
        known: str,
        transcript: Callable[[], Awaitable[Transcript]],
        close: Callable[[], Awaitable[None]],
        *,
        seconds: float,
        parts: int,
        spawn: Spawn,
    ) -> None:
        self.seconds = seconds
        self.parts = parts
        self._transcript = Transcript(known, final=True)
        self._ask = None if known else transcript
        self._close = close
        self._task = spawn(self._learn(), "earlier part")

    @property
    def text(self) -> str:
        """Its words, as far as they are known by now."""
        return self._transcript.text

    def before(self, transcript: Transcript) -> Transcript:
        """`transcript` with the words known of this part in front."""
        earlier = self._transcript
        return replace(
            transcript,
            text=join(self.text, transcript.text),
            language=transcript.language or earlier.language,
            emotion=transcript.emotion or earlier.emotion,
        )

    async def known(self) -> None:
        """Waits until its words are known, or known to be lost."""
        await asyncio.wait({self._task})

    async def aclose(self) -> None:
        """Ends the transcription, if it still runs; safe to call twice."""
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._close()

    async def _learn(self) -> None:
        if self._ask is not None:
            try:
                self._transcript = await self._ask()
            except ProviderError as error:
                _log.warning("the earlier part of an utterance can't be understood: %s", error)
        await self._close()
