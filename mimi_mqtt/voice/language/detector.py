"""Language detector: tells languages in Latin script apart by their words, with py3langid, loaded on demand.

Loading takes about 0.8 s and 80 MB, in a thread that holds up the loop by 15 ms at most; a text takes 0.1 ms.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from lzma import LZMAError
from threading import Lock
from typing import Any, Final

from mimi_mqtt.providers.languages import primary

_log = logging.getLogger(__name__)

LANGUAGES: Final = frozenset({"en", "de", "es", "fr", "it", "pt", "vi"})
"""Languages that are always considered; others only where a device has them."""

MAX_CHARS: Final = 300
"""Characters of a text that are looked at."""

AGAIN_AFTER_S: Final = 60.0
"""After a fault while loading, the next attempt comes no earlier, in seconds."""


class LanguageDetector:
    """Detector of the whole server. Make it on the running loop."""

    def __init__(self) -> None:
        self._loading: asyncio.Future[Any] | None = None
        self._not_before = float("-inf")

    async def probabilities(self, text: str, ours: Iterable[str]) -> Mapping[str, float]:
        """For each of `LANGUAGES` and of `ours` (tags) how probable it is for `text`, in all 1.

        A language that can't be told is missing. Empty when the model can't be loaded.
        """
        loading = self._loading
        if loading is None:
            if asyncio.get_running_loop().time() < self._not_before:
                return {}
            loading = self._loading = asyncio.ensure_future(asyncio.to_thread(_load))
        try:
            # Who waits may be cancelled; the others still want it.
            model = await asyncio.shield(loading)
        except Exception:  # noqa: BLE001 - the border of a package and a thread: only the language is not told
            if self._loading is loading:
                self._loading = None
                self._not_before = asyncio.get_running_loop().time() + AGAIN_AFTER_S
                _log.exception("loading the language model failed; languages aren't told by their words")
            return {}
        if model is None:
            return {}
        considered = LANGUAGES | {primary(tag) for tag in ours}
        ranking = model.rank(text[:MAX_CHARS])
        found = {language: share for language, share in ranking if language in considered}
        whole = sum(found.values())
        return {language: share / whole for language, share in found.items()} if whole else {}

    async def aclose(self) -> None:
        """Waits for a load that has begun, as a thread can't be ended."""
        if self._loading is not None:
            await asyncio.wait([self._loading])


_model: Any = None
_lock = Lock()


def _load() -> Any:
    """The process's one model; it is the same for everyone. None when the package is broken or missing, or
    takes more memory than there is."""
    global _model
    with _lock:
        if _model is None:
            try:
                from py3langid.langid import MODEL_FILE, LanguageIdentifier

                _model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
            except (ImportError, OSError, ValueError, EOFError, LZMAError, MemoryError) as error:
                _log.warning("languages can't be told by their words: %s", str(error) or type(error).__name__)
        return _model
