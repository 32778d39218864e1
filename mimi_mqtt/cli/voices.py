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
import json
import os
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.cli.device.speech import Loudspeaker, write_wav
from mimi_mqtt.config import Settings, load_settings
from mimi_mqtt.config.agents import FASTEST, LANGUAGE_TAG, SLOWEST, AgentSettings
from mimi_mqtt.errors import ConfigError
from mimi_mqtt.log import setup_logging
from mimi_mqtt.models.catalog import Model, catalog
from mimi_mqtt.models.engines import engine_installed
from mimi_mqtt.models.folder import ModelsFolder
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.catalog.local_models import models_folder, provider_name
from mimi_mqtt.providers.catalog.model_voices import ANY_LANGUAGE, owners, wish_of
from mimi_mqtt.providers.catalog.selection import with_providers
from mimi_mqtt.providers.contract.tts import GENDERS, TextToSpeech, VoiceOptions
from mimi_mqtt.providers.languages import primary
from mimi_mqtt.voice.speech.manner import manner


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
    rows = [
        row
        for model in catalog().values()
        for row in _rows(model, folder)
        if (not args.language or primary(args.language) in row["languages"])
        and (not args.gender or row["gender"] == args.gender)
        and (not args.installed or not row["cure"])
    ]
    if args.json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for row in rows:
        spoken = row["language"] if row["language"] != ANY_LANGUAGE else "many"
        state = row["cure"] or "ready"
        print(f"{row['name']:<20} {spoken:<12} {row['gender']:<7} {row['model']:<18} {state}")
    if not rows:
        print("no such voice", file=sys.stderr)


def _rows(model: Model, folder: ModelsFolder) -> Iterator[dict[str, Any]]:
    cure, languages = _cure(model, folder), list(map(primary, model.languages))
    for voice in model.voices:
        yield {
            "name": voice.name,
            "language": voice.language,
            "languages": languages if voice.language == ANY_LANGUAGE else [primary(voice.language)],
            "gender": voice.gender,
            "model": model.name,
            "provider": provider_name(model),
            "cure": cure,
        }


def _cure(model: Model, folder: ModelsFolder) -> str:
    """The command that makes the voices of `model` usable; empty when they are."""
    if not engine_installed(model):
        return f"pip install 'mimi-mqtt[{model.needs}]'"
    return "" if folder.has(model) else f"mimi-mqtt models install {model.name}"


# ── a text ──────────────────────────────────────────────────────────────────────────────────────────────────


async def _say(args: argparse.Namespace, settings: Settings) -> int:
    options = _manner(args, settings)
    tts = _provider(args, settings, options)
    try:
        await tts.start()
        pcm, rate = await _spoken(tts, args.say, options)
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


def _manner(args: argparse.Namespace, settings: Settings) -> VoiceOptions:
    """What is asked of text to speech: that of the assistant, where the command line does not tell."""
    assistant: AgentSettings = settings.assistant
    language = args.language or _voice_language(args.voice) or assistant.language or settings.server.language
    usual = manner(assistant, language)
    if not (args.voice or args.gender):
        return wish_of(language, usual.voice or usual.gender or None, args.speed or usual.speed)
    if args.voice and args.gender:
        raise ConfigError("--gender: not with --voice, which has its own")
    return wish_of(language, args.voice or args.gender, args.speed or usual.speed)


def _voice_language(voice: str | None) -> str:
    """The language of a voice of the catalogue; empty for others, and for one that speaks several."""
    languages = [known.language for _, known in owners(voice or "") if known.language != ANY_LANGUAGE]
    return next(iter(languages), "")


def _provider(args: argparse.Namespace, settings: Settings, options: VoiceOptions) -> TextToSpeech:
    """The providers that are asked: the model of a named voice alone, else those of the assistant."""
    providers, folder = settings.providers, models_folder(settings.providers)
    if args.voice and (models := [model for model, _ in owners(args.voice)]):
        ready = next((model for model in models if not _cure(model, folder)), None)
        if ready is None:
            raise ConfigError(f"--voice {args.voice}: {_cure(models[0], folder)}")
        names: tuple[str, ...] = (provider_name(ready),)
    else:
        wanted = settings.assistant.tts or providers.tts
        given = with_providers(providers, "tts", wanted)
        voice = options.voice or options.gender or None
        names = registry.resolve("tts", given, os.environ, "assistant.tts", options.language, voice)
    tts = registry.build("tts", with_providers(providers, "tts", names), os.environ)
    wished = options.voice or options.gender
    if args.voice in catalog() and catalog()[args.voice].voices:
        known = ", ".join(voice.name for voice in catalog()[args.voice].voices)
        raise ConfigError(f"--voice: {args.voice} is a model; its voices: {known}")
    if wished and tts.has_voice(options) is False:
        raise ConfigError(
            f"{tts.name} has no voice {wished} for {options.language}: see "
            f"mimi-mqtt voices --language {options.language}"
        )
    return tts


async def _spoken(tts: TextToSpeech, text: str, options: VoiceOptions) -> tuple[Pcm, int]:
    parts: list[Pcm] = []
    rate = 0
    async with aclosing(tts.speak(text, options)) as chunks:
        async for chunk in chunks:
            rate = rate or chunk.sample_rate
            same = chunk.sample_rate == rate  # another provider may go on when one fails
            pcm = chunk.pcm if same else Resampler(chunk.sample_rate, rate).process(chunk.pcm, last=True)
            parts.append(pcm)
    if not parts:
        raise ConfigError(f"there is nothing to say in {text!r}")
    return np.concatenate(parts), rate


async def _play(pcm: Pcm, rate: int, seconds: float) -> None:
    loudspeaker = Loudspeaker()
    loudspeaker.open(rate)
    try:
        loudspeaker.play(pcm)
        await asyncio.sleep(seconds + _TAIL_S)
    finally:
        loudspeaker.close()


_TAIL_S = 0.3  # what the sound card still holds when the last sample was handed to it
