"""Waiting time of talkers who end their sentences at the same moment; part of `bench voice`."""

import asyncio
from collections.abc import Sequence

from mimi_mqtt.cli.bench.voice.hearing import Utterance
from mimi_mqtt.cli.bench.voice.providers import percentile, transcribed
from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.errors import ProviderError
from mimi_mqtt.providers.contract.stt import SpeechToText
from mimi_mqtt.providers.runtime.fair_queue import bind_holder


async def row(
    stt: SpeechToText, name: str, language: str, utterances: Sequence[Utterance], count: int
) -> dict[str, object]:
    """`count` devices with an utterance each, all asked at once, as with any recogniser of the server.

    `one_moment` are those who hear that first, as their words take longer than `voice.filler_s`; `refused`
    those whose words are never known.
    """
    filler_s = VoiceSettings().filler_s
    clock = asyncio.get_running_loop().time
    began = clock()

    async def talk(number: int) -> float | None:
        bind_holder(f"device {number}")
        try:
            await transcribed(stt, utterances[number % len(utterances)].pcm, language)
        except ProviderError:
            return None
        return clock() - began

    async with asyncio.TaskGroup() as group:
        talking = [group.create_task(talk(number)) for number in range(count)]
    waited = [took for task in talking if (took := task.result()) is not None]
    return {
        "recogniser": name,
        "talkers": count,
        "ms_p50": percentile(waited, 50),
        "ms_p95": percentile(waited, 95),
        "ms_last": percentile(waited, 100),
        "one_moment": sum(took > filler_s for took in waited) if filler_s else 0,
        "refused": count - len(waited),
    }
