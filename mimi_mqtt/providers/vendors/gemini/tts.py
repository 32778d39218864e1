"""Text to speech by Gemini's speech models, streamed as raw PCM.

Through google-genai, which the other Gemini roles need as well.
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, TtsCapabilities, VoiceOptions
from mimi_mqtt.providers.http.audio import SampleReader
from mimi_mqtt.providers.runtime.resilience import Limits, closing_parts
from mimi_mqtt.providers.vendors.gemini.client import GeminiOptions, GeminiProvider, pace, pcm_rate

if TYPE_CHECKING:
    from google.genai.types import Content, GenerateContentConfig, GenerateContentResponse


class GeminiTtsOptions(GeminiOptions):
    """Options of `providers.options.gemini` for speaking."""

    tts_model: str = "gemini-3.8-flash-lite-tts"
    """Speech model; gemini-3.8-flash-tts is slower and acts better."""

    tts_voice: str = "Kore"
    """Voice, where assistant.voice is empty."""

    tts_instructions: str = ""
    """The manner of speaking, such as "warm and calm"."""


class GeminiTextToSpeech(GeminiProvider, TextToSpeech):
    """`streamGenerateContent` that answers with audio; the languages are the model's to hear."""

    Options = GeminiTtsOptions
    capabilities = TtsCapabilities(streaming=True)

    def __init__(self, name: str, options: GeminiTtsOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options

    async def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncIterator[SpeechChunk]:
        client = await self._client.get()
        samples: SampleReader | None = None
        async with self._client.errors():
            content, config = self._request(text, voice)
            answer = await client.models.generate_content_stream(
                model=self._options.tts_model, contents=content, config=config
            )
            async with closing_parts(answer) as parts:
                async for part in parts:
                    for kind, audio in _audio(part):
                        samples = samples or SampleReader(self.name, pcm_rate(self.name, kind))
                        if (chunk := samples.feed(audio)) is not None:
                            yield chunk
            if samples is not None:
                samples.finish()

    def _request(self, text: str, voice: VoiceOptions) -> "tuple[Content, GenerateContentConfig]":
        from google.genai.types import (
            Content,
            GenerateContentConfig,
            Modality,
            Part,
            SpeechConfig,
            SpeechMetadata,
            VoiceConfig,
        )

        style = ", ".join(filter(None, (self._options.tts_instructions, pace(voice.speed))))
        part = Part(text=text, speech_metadata=SpeechMetadata(style=style) if style else None)
        config = GenerateContentConfig(
            response_modalities=[Modality.AUDIO],
            speech_config=SpeechConfig(
                voice_config=VoiceConfig(voice=voice.voice or self._options.tts_voice),
            ),
        )
        return Content(role="user", parts=[part]), config


def _audio(answer: "GenerateContentResponse") -> list[tuple[str, bytes]]:
    """The audio of one part of the answer, with its type."""
    candidates = answer.candidates or []
    content = candidates[0].content if candidates else None
    blobs = [part.inline_data for part in (content.parts if content is not None else None) or []]
    return [(blob.mime_type or "", blob.data) for blob in blobs if blob is not None and blob.data]
