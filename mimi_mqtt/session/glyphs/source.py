"""Glyphs by character, size and depth: drawn once, kept in memory for all devices, drawn off the event loop.

Drawing takes 15 to 90 µs a glyph. What a text needs at once is drawn on the loop within a budget of time;
what is known before it is shown, and what the budget left over, is drawn by one thread.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from prometheus_client import Counter

from mimi_mqtt.errors import ConfigError
from mimi_mqtt.providers.runtime.lru import Lru
from mimi_mqtt.session.glyphs.choice import is_emoji, is_invisible, nothing
from mimi_mqtt.session.glyphs.fonts import FontFile, font_files
from mimi_mqtt.session.glyphs.typeface import Typeface, freetype
from mimi_mqtt.wire.font_charsets import has
from mimi_mqtt.wire.glyphs import Glyph, TextFont

_log = logging.getLogger(__name__)

MAX_KEPT_BYTES: Final = 4 * 1024 * 1024
"""Memory for drawn glyphs of all devices, in bytes: some 4,000."""
RENDER_BUDGET_S: Final = 0.004
"""The longest time that one text has the event loop draw, in seconds."""
LOOP_SHARE: Final = 0.05
"""The share of the event loop's time that drawing for all devices may take; five budgets at once."""
MAX_BATCHES: Final = 8
"""Texts whose characters wait for the drawing thread; those of further ones are drawn when shown again."""

_OVERHEAD_BYTES: Final = 700  # of an entry, beside twice its bitmap in base64
_LOCK_WAIT_S: Final = 0.001

_rendered = Counter("mimi_glyphs_rendered_total", "Glyphs rendered, by outcome.", ["outcome"])


@dataclass(frozen=True, slots=True)
class Drawn:
    """Result of drawing a character: `glyph` is None when no font could draw it."""

    glyph: Glyph | None


def _weight(drawn: Drawn) -> int:
    return _OVERHEAD_BYTES + (3 * len(drawn.glyph.bitmap) if drawn.glyph is not None else 0)


class GlyphSource:
    """Draws characters from a chain of font files. Used on the loop's thread; `close` it at the end.

    Files named in `configured` are opened now: ConfigError tells what is wrong with one. Without them nothing
    is looked for, in `files`, and no package loaded before a device wants glyphs. `budget_s` is the longest
    time that one text has the loop draw.
    """

    def __init__(
        self,
        configured: Sequence[str] = (),
        files: Callable[[Sequence[str]], Iterable[FontFile]] = font_files,
        *,
        budget_s: float | None = None,
    ) -> None:
        self._configured = tuple(configured)
        self._files = files
        self._budget_s = RENDER_BUDGET_S if budget_s is None else budget_s
        self._credit_s = 5 * self._budget_s
        self._credited_at = time.perf_counter()
        self._faces: list[Typeface] = []
        self._complete = False
        self._lock = threading.Lock()  # faces are used by one thread at a time
        self._kept: Lru[Drawn] = Lru(MAX_KEPT_BYTES, _weight)
        self._thread = ThreadPoolExecutor(1, "glyphs")
        self._batches: set[asyncio.Future[list[tuple[str, Drawn]]]] = set()
        self._told: set[str] = set()
        for text in self._configured:
            self._faces.append(Typeface(FontFile.named(text)))
        if self._faces:
            self._open()

    # ── what callers ask for ─────────────────────────────────────────────────────────────────────────────

    def now(self, codepoints: Sequence[int], font: TextFont) -> dict[int, Drawn]:
        """The characters that are drawn already, or can be within the budget; the thread draws the rest."""
        found: dict[int, Drawn] = {}
        late: list[int] = []
        now = time.perf_counter()
        until = now + self._allowance(now)
        for codepoint in codepoints:
            drawn = self._kept.get(_key(codepoint, font))
            if drawn is None and self._complete and time.perf_counter() < until:
                drawn = self._draw_here(codepoint, font)
            if drawn is None:
                late.append(codepoint)
            else:
                found[codepoint] = drawn
        if found:
            self._credit_s -= time.perf_counter() - now
        self._draw_later(late, font)
        return found

    def _allowance(self, now: float) -> float:
        """The time that a text may have the loop draw, in seconds: the budget, or what all have left over."""
        earned = (now - self._credited_at) * LOOP_SHARE
        self._credit_s = min(5 * self._budget_s, self._credit_s + earned)
        self._credited_at = now
        return min(self._budget_s, self._credit_s)

    def soon(self, codepoints: Sequence[int], font: TextFont) -> None:
        """The thread draws what is not drawn yet: it will be needed."""
        self._draw_later([each for each in codepoints if _key(each, font) not in self._kept], font)

    def warm(self) -> None:
        """The thread opens the fonts: a device that wants glyphs has come."""
        self._draw_later([], TextFont("", "", 1, 1))

    async def settled(self) -> None:
        """Returns when nothing waits for the thread."""
        while self._batches:
            await asyncio.wait(self._batches)
            await asyncio.sleep(0)  # the callbacks that keep what was drawn

    def of(self, character: str) -> str | None:
        """The file that `character` is drawn from, for a person; None when none has it. Not for the loop."""
        with self._lock:
            self._open()
            face = next((face for face in self._faces if face.has(ord(character))), None)
        return str(face.file) if face is not None else None

    def close(self) -> None:
        """Stops the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    # ── drawing ──────────────────────────────────────────────────────────────────────────────────────────

    def _draw_here(self, codepoint: int, font: TextFont) -> Drawn | None:
        if not self._lock.acquire(timeout=_LOCK_WAIT_S):
            return None
        try:
            drawn = self._draw(codepoint, font)
        finally:
            self._lock.release()
        self._keep(_key(codepoint, font), drawn)
        return drawn

    def _draw_later(self, codepoints: Sequence[int], font: TextFont) -> None:
        if not codepoints and self._complete:
            return
        if len(self._batches) >= MAX_BATCHES:
            return
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._draw_all, codepoints, font)
        self._batches.add(work)
        work.add_done_callback(self._take)

    def _take(self, work: "asyncio.Future[list[tuple[str, Drawn]]]") -> None:
        self._batches.discard(work)
        if work.cancelled():
            return
        if (error := work.exception()) is not None:
            _log.error("glyphs could not be drawn", exc_info=error)
            return
        for key, drawn in work.result():
            self._keep(key, drawn)

    def _keep(self, key: str, drawn: Drawn) -> None:
        _rendered.labels("drawn" if drawn.glyph is not None else "no_font").inc()
        self._kept.keep(key, drawn)
        if drawn.glyph is None:
            self._tell(
                "lacking",
                "no font of this machine has some of the characters that a device lacks: its screen shows "
                "boxes for them; `mimi-mqtt doctor` says which package has them",
            )

    def _draw_all(self, codepoints: Sequence[int], font: TextFont) -> list[tuple[str, Drawn]]:
        """On the thread."""
        with self._lock:
            self._open()
        done: list[tuple[str, Drawn]] = []
        for codepoint in codepoints:
            with self._lock:  # between two of them the loop may draw what it needs at once
                done.append((_key(codepoint, font), self._draw(codepoint, font)))
        return done

    def _draw(self, codepoint: int, font: TextFont) -> Drawn:
        if is_invisible(codepoint):
            return Drawn(nothing(codepoint))
        for face in self._faces:
            glyph = face.render(codepoint, font.size, font.bpp)
            if glyph is not None:
                return Drawn(glyph)
        return Drawn(nothing(codepoint) if is_emoji(codepoint) else None)

    def _open(self) -> None:
        """Opens the well-known fonts, once."""
        if self._complete:
            return
        has("common", "a")  # the set is made on use, which takes some milliseconds
        try:
            freetype()
        except ConfigError as error:
            self._tell("package", str(error))
            self._complete = True
            return
        faces: list[Typeface] = []
        for file in self._files(self._configured):
            if file.configured:
                continue
            try:
                faces.append(Typeface(file))
            except ConfigError as error:
                self._tell(str(file), f"{error}; it is left out")
        self._faces += faces
        self._complete = True

    def _tell(self, what: str, line: str) -> None:
        if what not in self._told:
            self._told.add(what)
            _log.warning("%s", line)


def _key(codepoint: int, font: TextFont) -> str:
    return f"{codepoint:x}.{font.size}.{font.bpp}"
