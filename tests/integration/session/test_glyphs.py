"""Glyphs from the whole server to a simulated device, which checks them as the firmware does."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mimi_mqtt.app import App
from mimi_mqtt.cli.device.actions import GlyphsPushed, GlyphsRefused
from mimi_mqtt.cli.device.client import DeviceOptions, Summary, Told, converse
from mimi_mqtt.config import Settings
from mimi_mqtt.errors import ConfigError
from mimi_mqtt.providers.vendors.offline.assistant.languages import ja, ru, vi
from mimi_mqtt.session.glyphs import source
from mimi_mqtt.wire.glyphs import TextFont
from tests.databases import new_database
from tests.fonts import Block, make_font
from tests.servers.impaired import TcpProxy

MAC = "02:00:00:00:00:77"
WORDS = "".join(Path(str(module.__file__)).read_text(encoding="utf-8") for module in (ja, ru, vi))
SAID = {
    "vi": "Chào Mimi, mấy giờ rồi?",
    "ru": "Привет, который час?",
    "ja": "今日は何曜日ですか、鱻さん？",
}


@pytest.fixture(scope="module")
def font(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A font with the letters of all that is said here, and one emoji."""
    letters = sorted({*WORDS, *"".join(SAID.values()), *"！？。、", "😀"} - {"\n"})
    shape = Block(50, -100, 900, 750, 1000)
    return make_font(tmp_path_factory.mktemp("fonts") / "letters.ttf", dict.fromkeys(letters, shape))


@asynccontextmanager
async def serving(folder: Path, transport: str, fonts: list[Path]) -> AsyncIterator[App]:
    anywhere: Mapping[str, object] = {"bind": "127.0.0.1:0"}
    providers = dict.fromkeys(("stt", "llm", "tts"), "offline")
    settings = Settings.model_validate(
        {
            "server": {"data_dir": folder}, "http": anywhere, "mqtt": anywhere, "udp": anywhere,
            "ota": {"transport": transport}, "providers": providers,
            "assistant": {"wake_word": "answer"}, "display": {"fonts": [str(font) for font in fonts]},
        }
    )  # fmt: skip
    new_database(folder)
    app = App(settings, {})
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


async def talk(app: App, tell: list[Told], port: int | None = None, **options: Any) -> Summary:
    ota = f"http://127.0.0.1:{port or app.http_port}/xiaozhi/ota/"
    return await converse(DeviceOptions(ota=ota, mac=MAC, timeout_s=60.0, **options), tell.append)


@pytest.fixture(autouse=True)
def _no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the budget of a text could be over before its last glyph."""
    monkeypatch.setattr(source, "RENDER_BUDGET_S", 60.0)


@pytest.mark.parametrize("language", ["vi", "ru", "ja"])
async def test_everything_can_be_read(tmp_path: Path, font: Path, language: str) -> None:
    tell: list[Told] = []
    said = f"{SAID[language]} 😀 🚀\ufe0f"
    async with serving(tmp_path, "mqtt", [font]) as app:
        summary = await talk(
            app, tell, text=said, language=language, glyphs=TextFont("noto-v1", "basic", 16, 4)
        )
    assert summary.ok, summary.error
    (turn,) = summary.turns
    assert turn.heard == said
    assert turn.boxes == ""
    assert not [told for told in tell if isinstance(told, GlyphsRefused)]
    foreign = {character for character in said + turn.reply if ord(character) > 0xFF}
    assert set(turn.glyphs) == foreign
    pushes = [told for told in tell if isinstance(told, GlyphsPushed)]
    codepoints = [glyph.codepoint for push in pushes for glyph in push.glyphs]
    assert len(set(codepoints)) == len(codepoints), "each is sent once"


async def test_over_a_slow_websocket_glyphs_come_little_by_little_and_speech_is_whole(
    tmp_path: Path, font: Path
) -> None:
    tell: list[Told] = []
    wanted = TextFont("noto-v1", "basic", 16, 4)
    async with (
        serving(tmp_path, "websocket", [font]) as app,
        TcpProxy(app.http_port, bytes_per_s=12_000) as proxy,
    ):
        summary = await talk(app, tell, proxy.port, text=SAID["ru"], language="ru", glyphs=wanted)
    assert summary.ok, summary.error
    assert (summary.lost, summary.clipped_start_ms, summary.clipped_end_ms) == (0, 0, 0)
    assert not [told for told in tell if isinstance(told, GlyphsRefused)]
    pushes = [told.glyphs for told in tell if isinstance(told, GlyphsPushed)]
    assert len(pushes) >= 2
    assert all(0 < sum(len(glyph.json) for glyph in glyphs) <= 1_200 for glyphs in pushes)


@pytest.mark.parametrize("transport", ["mqtt", "websocket"])
async def test_a_font_with_the_common_characters_needs_few(
    tmp_path: Path, font: Path, transport: str
) -> None:
    async with serving(tmp_path, transport, [font]) as app:
        summary = await talk(app, [], text=SAID["ja"], language="ja")
    assert summary.turns[0].glyphs == "鱻"
    assert summary.turns[0].boxes == ""


async def test_a_device_of_another_kind_is_sent_none(tmp_path: Path, font: Path) -> None:
    tell: list[Told] = []
    async with serving(tmp_path, "mqtt", [font]) as app:
        summary = await talk(app, tell, text=SAID["vi"], language="vi", like="stock-2.4")
    assert summary.ok, summary.error
    assert not [told for told in tell if isinstance(told, GlyphsPushed | GlyphsRefused)]


async def test_a_server_with_a_broken_font_does_not_start(tmp_path: Path) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    with pytest.raises(ConfigError, match=r"display\.fonts: .*broken\.ttf"):
        async with serving(tmp_path, "mqtt", [broken]):
            pass
