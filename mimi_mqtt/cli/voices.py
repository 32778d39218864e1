"""Voices of the local models: what there is for each language, and how each sounds.

  mimi-mqtt voices                                       every voice, and how to install its model
  mimi-mqtt voices --language ja --gender male           those that fit
  mimi-mqtt voices --say "Hello there" --save hello.wav  a text as the server would say it
  mimi-mqtt voices --say "Hello there" --voice am_fenrir --speed 1.2

`--say` asks the providers of broker.yaml with assistant.voice and assistant.speed, unless told otherwise;
without `--save` it plays on this machine's loudspeaker. A name that the list shows is what assistant.voice
takes; so are `female` and `male`, and these by language: `voice: {en: am_fenrir, ja: female}`.
"""

import argparse
import asyncio
import dataclasses
import json
import math
import os
import sys
from pathlib import Path

from mimi_mqtt.audio import Pcm
from mimi_mqtt.cli.device.speech import Loudspeaker, write_wav
from mimi_mqtt.config import Settings, load_settings
from mimi_mqtt.config.agents import FASTEST, LANGUAGE_TAG, SLOWEST
from mimi_mqtt.errors import ConfigError
from mimi_mqtt.log import setup_logging
from mimi_mqtt.models.folder import ModelsFolder
from mimi_mqtt.providers.catalog.local_models import models_folder
from mimi_mqtt.providers.catalog.model_voices import ANY_LANGUAGE
from mimi_mqtt.providers.catalog.voice_list import listed_voices
from mimi_mqtt.providers.contract.tts import GENDERS
from mimi_mqtt.voice.speech.sample import SampleWish, sample_options, sample_provider, spoken


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the filters of the list, and what is said."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings (default as for serve)")
    parser.add_argument("--language", type=_language, metavar="TAG", help="such as en or pt-BR")
    parser.add_argument("--gender", choices=sorted(GENDERS), help="only such voices, or one of them")
    parser.add_argument("--installed", action="store_true", help="list only voices that can be used now")
    parser.add_argument("--json", action="store_true", help="print one JSON array, or what was said by whom")
    parser.add_argument("--say", metavar="TEXT", help="say this text")
    parser.add_argument("--voice", metavar="NAME", help="by this voice (default: assistant.voice)")
    parser.add_argument("--speed", type=_speed, metavar="N", help="0.5 to 2 (default: assistant.speed)")
    parser.add_argument("--save", type=Path, metavar="FILE.wav", help="into a file, not on the loudspeaker")


def _language(given: str) -> str:
    if not LANGUAGE_TAG.fullmatch(given):
        raise argparse.ArgumentTypeError(f"{given!r} is not a language such as en or zh-CN")
    return given


def _speed(given: str) -> float:
    try:
        speed = float(given)
    except ValueError:
        speed = 0.0
    if not SLOWEST <= speed <= FASTEST:
        raise argparse.ArgumentTypeError(f"must be {SLOWEST:g} to {FASTEST:g}, not {given!r}")
    return speed


def run(args: argparse.Namespace) -> int:
    """Prints the list, or says a text. Raises ConfigError or ProviderError."""
    settings = load_settings(args.config, os.environ)
    if args.say is not None:
        if args.installed:
            raise ConfigError("--installed: only for the list, not with --say")
        setup_logging("error", "text")
        return asyncio.run(_say(args, settings))
    unused = [f"--{name}" for name in ("voice", "speed", "save") if getattr(args, name) is not None]
    if unused:
        raise ConfigError(f"{' and '.join(unused)}: only with --say TEXT")
    _list(args, models_folder(settings.providers))
    return 0


# ── the list ────────────────────────────────────────────────────────────────────────────────────────────────


def _list(args: argparse.Namespace, folder: ModelsFolder) -> None:
    rows = list(
        listed_voices(
            folder, language=args.language or "", gender=args.gender or "", installed=args.installed
        )
    )
    if args.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], ensure_ascii=False, indent=2))
        return
    for row in rows:
        spoken = row.language if row.language != ANY_LANGUAGE else "many"
        print(f"{row.name:<20} {spoken:<12} {row.gender:<7} {row.model:<18} {row.cure or 'ready'}")
    if not rows:
        print("no such voice", file=sys.stderr)


# ── a text ──────────────────────────────────────────────────────────────────────────────────────────────────


async def _say(args: argparse.Namespace, settings: Settings) -> int:
    if args.voice and args.gender:
        raise ConfigError("--gender: not with --voice, which has its own")
    wish = SampleWish(args.language or "", args.voice or "", args.gender or "", args.speed)
    agent = settings.assistant
    try:
        options = sample_options(settings, agent, wish)
        tts = sample_provider(settings, agent, os.environ, wish, options)
    except ConfigError as error:
        # The same field is an option of this command.
        problem = str(error)
        raise ConfigError(f"--{problem}" if problem.startswith("voice") else problem) from None
    try:
        await tts.start()
        pcm, rate = await spoken(tts, args.say, options, max_s=math.inf)
    finally:
        await tts.aclose()
    seconds = pcm.size / rate
    if args.save is not None:
        await asyncio.to_thread(write_wav, args.save, pcm, rate)
    else:
        await _play(pcm, rate, seconds)
    told = {
        "text": args.say, "providers": tts.name, "language": options.language, "voice": options.voice,
        "gender": options.gender, "speed": options.speed, "sample_rate": rate, "seconds": round(seconds, 2),
    }  # fmt: skip
    if args.json:
        print(json.dumps(told, ensure_ascii=False))
    elif args.save is not None:
        print(f"{args.save}: {seconds:.1f} s at {rate} Hz, by {tts.name}")
    return 0


async def _play(pcm: Pcm, rate: int, seconds: float) -> None:
    loudspeaker = Loudspeaker()
    loudspeaker.open(rate)
    try:
        loudspeaker.play(pcm)
        await asyncio.sleep(seconds + _TAIL_S)
    finally:
        loudspeaker.close()


_TAIL_S = 0.3  # what the sound card still holds when the last sample was handed to it
