"""The glyphs that a device holds, against the firmware's own rule written another way."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.session.glyphs.memory import MAX_HELD, MAX_HELD_BYTES, HeldGlyphs
from mimi_mqtt.wire.glyphs import Glyph


def glyph(codepoint: int, size: int = 100) -> Glyph:
    return Glyph(codepoint, 320, 1, size, 0, 0, bytes(size))


@dataclass
class FirmwareCache:
    """The firmware's list of entries: each with the number of its last use; the lowest is dropped."""

    entries: dict[int, tuple[int, int]] = field(default_factory=dict)
    uses: int = 0

    def add(self, glyphs: list[Glyph]) -> None:
        for each in glyphs:
            self.uses += 1
            self.entries[each.codepoint] = self.uses, len(each.bitmap)
        while len(self.entries) > 256 or sum(size for _, size in self.entries.values()) > 64 * 1024:
            del self.entries[min(self.entries, key=lambda codepoint: self.entries[codepoint][0])]


def test_a_glyph_is_sent_once() -> None:
    held = HeldGlyphs(keeps=True)
    assert held.lacking([glyph(1), glyph(2)]) == [glyph(1), glyph(2)]
    held.pushed([glyph(1)])
    assert held.lacking([glyph(1), glyph(2)]) == [glyph(2)]
    held.clear()
    assert held.lacking([glyph(1)]) == [glyph(1)]


def test_a_device_without_external_memory_is_sent_them_each_time() -> None:
    held = HeldGlyphs(keeps=False)
    held.pushed([glyph(1)])
    assert held.lacking([glyph(1)]) == [glyph(1)]
    assert len(held) == 0


def test_what_would_be_dropped_for_the_new_is_sent_again() -> None:
    held = HeldGlyphs(keeps=True)
    held.pushed([glyph(codepoint) for codepoint in range(1, MAX_HELD + 1)])
    needed = [glyph(1), glyph(MAX_HELD), glyph(1000)]
    assert held.lacking(needed) == [glyph(1), glyph(1000)]
    held.pushed(held.lacking(needed))
    assert all(each.codepoint in held for each in needed)
    assert 2 not in held
    assert len(held) == MAX_HELD


batches = st.lists(
    st.lists(
        st.tuples(st.integers(1, 400), st.sampled_from((0, 10, 200, 4096))),
        min_size=1,
        max_size=40,
        unique_by=lambda each: each[0],
    ),
    max_size=40,
)


@given(batches)
def test_the_memory_is_that_of_the_firmware(texts: list[list[tuple[int, int]]]) -> None:
    held, device = HeldGlyphs(keeps=True), FirmwareCache()
    sizes: dict[int, int] = {}
    for text in texts:
        needed = [glyph(codepoint, sizes.setdefault(codepoint, size)) for codepoint, size in text]
        sent = held.lacking(needed)
        held.pushed(sent)
        device.add(sent)
        assert {codepoint for codepoint in range(1, 401) if codepoint in held} == set(device.entries)
        if sum(len(each.bitmap) for each in needed) <= MAX_HELD_BYTES:
            assert all(each.codepoint in held for each in needed), "a text has all that it needs"
