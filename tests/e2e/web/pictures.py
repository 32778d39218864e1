"""Makes the pictures of the README: `python -m tests.e2e.web.pictures`, with ffmpeg and Chromium installed.

A house with a past, a spoken turn with the browser as the device, and what is left of it.
"""

import asyncio
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from playwright.async_api import FloatRect, Page, expect

from tests.e2e.web.conftest import ROOT, Site, serving
from tests.e2e.web.house import fill
from tests.e2e.web.test_talk import recorded

FOLDER: Final = ROOT / "docs/pictures"
WIDTH: Final = 880
"""Pixels of a picture."""
FRAMES_PER_S: Final = 8
MAX_FRAMES: Final = 90

_COLOURS: Final = (
    "split[a][b];[a]palettegen=max_colors={colours}:stats_mode=diff[p];[b][p]paletteuse=dither=none"
)


def _ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-y", "-loglevel", "error", *arguments], check=True)


def _small(source: Path, name: str) -> None:
    """Keeps a screenshot as a small PNG with a palette."""
    scaled = f"scale={WIDTH}:-1:flags=lanczos,{_COLOURS.format(colours=160)}"
    _ffmpeg("-i", str(source), "-vf", scaled, str(FOLDER / f"{name}.png"))


def _animated(frames: Path, name: str) -> None:
    scaled = f"scale={WIDTH}:-1:flags=lanczos,{_COLOURS.format(colours=64)}"
    source = ("-framerate", str(FRAMES_PER_S), "-i", str(frames / "%03d.png"))
    _ffmpeg(*source, "-vf", scaled, str(FOLDER / f"{name}.gif"))


async def _home(site: Site, folder: Path) -> None:
    tab = await site.tab()
    await tab.goto("/")
    await tab.settled()
    await tab.page.screenshot(path=folder / "home.png", animations="disabled")
    _small(folder / "home.png", "home")


async def _turn(site: Site, folder: Path) -> None:
    """A spoken turn, frame by frame, to its end."""
    tab = await site.tab(theme="dark")
    page = tab.page
    await page.emulate_media(reduced_motion="no-preference")
    await tab.goto("/talk")
    await page.get_by_role("button", name="Start talking").click()
    frames = folder / "frames"
    frames.mkdir()
    answered = page.locator(".transcript .assistant")
    last, number = MAX_FRAMES, 0
    async with asyncio.timeout(60):
        while number < last:
            await page.screenshot(path=frames / f"{number:03d}.png", clip=_clip(page))
            number += 1
            if last == MAX_FRAMES and await page.get_by_text("Answered", exact=True).count():
                last = min(MAX_FRAMES, number + FRAMES_PER_S * 2)
    await expect(answered.first).to_be_visible()
    _animated(frames, "turn")
    await page.screenshot(path=folder / "talk.png", animations="disabled")
    _small(folder / "talk.png", "talk")


def _clip(page: Page) -> FloatRect:  # what is left of the navigation is not part of the turn
    size = page.viewport_size or {"width": 1280, "height": 900}
    return {"x": 240, "y": 56, "width": size["width"] - 240, "height": size["height"] - 56}


async def _conversation(site: Site, folder: Path) -> None:
    async with site.program() as client:
        found = (await client.get("/conversations", params={"limit": 1})).json()["items"][0]
    tab = await site.tab()
    await tab.goto(f"/conversations/{found['id']}")
    await tab.settled()
    await tab.page.locator(".waterfall").first.wait_for()
    await tab.page.screenshot(path=folder / "conversation.png", animations="disabled")
    _small(folder / "conversation.png", "conversation")


async def main() -> None:
    """Makes all of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await fill(folder)
        wav = await recorded(folder / "said.wav", 1.5, "set the volume to thirty")
        options = (
            "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-audio-capture={wav}%noloop",
        )  # fmt: skip
        async with serving(folder, *options, MIMI_ASSISTANT__RECORDINGS="true") as site:
            await site.first_admin()
            await _turn(site, folder)
            await _home(site, folder)
            await _conversation(site, folder)
            assert await site.close_tabs() == []


if __name__ == "__main__":
    asyncio.run(main())
