"""Speech to text by OpenAI or a compatible server: the utterance as a WAV file, the text as it is made."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Literal

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText, SttCapabilities
from mimi_mqtt.providers.http.audio import wav_file
from mimi_mqtt.providers.languages import language_named, primary
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.openai.compatible import OpenAiOptions, OpenAiProvider
from mimi_mqtt.providers.vendors.whisper.segments import segments_of, spoken

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.audio import Transcription, TranscriptionDiarized, TranscriptionVerbose


class OpenAiSttOptions(OpenAiOptions):
    """Options of `providers.options.openai` for hearing."""

    stt_model: str = "gpt-transcribe"
    """Transcription model."""

    stt_stream: bool | None = None
    """Streams the text. Empty: for models whose name begins with gpt-."""

    stt_prompt: str = ""
    """Words to expect: names of people, rooms and things."""

    stt_verbose: bool | None = None
    """Asks the server for verbose_json, which tells the language that was spoken and what is only
    invented of noise. Empty: for models with whisper in their name, unless the server refuses it."""


class OpenAiSpeechToText(OpenAiProvider, SpeechToText):
    """`POST /audio/transcriptions`, with server-sent events where the model streams."""

    Options = OpenAiSttOptions
    # The file is sent when the speaker is done; only the text is streamed.
    capabilities = SttCapabilities(streaming=False, detects=None)

    def __init__(self, name: str, options: OpenAiSttOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self._stream = (
            options.stt_model.startswith("gpt-") if options.stt_stream is None else options.stt_stream
        )
        # Of the others none can, so that the language has to be found in the text.
        verbose = "whisper" in options.stt_model if options.stt_verbose is None else options.stt_verbose
        self._format: Literal["json", "verbose_json"] = "verbose_json" if verbose else "json"
        # This model takes a list of languages where the others take one.
        self._many = options.stt_model.startswith("gpt-transcribe")

    async def _transcribe(self, audio: AsyncIterator[Pcm], language: str | None) -> AsyncIterator[Transcript]:
        client = await self._client.get()
        hint = primary(language) if language else ""
        async for pcm in audio:
            wav = wav_file(pcm, self.capabilities.sample_rate)
            async with self._client.errors():
                parts = self._streamed(client, wav, hint) if self._stream else self._whole(client, wav, hint)
                async with aclosing(parts) as transcripts:
                    async for transcript in transcripts:
                        yield transcript

    async def _whole(self, client: "AsyncOpenAI", wav: bytes, hint: str) -> AsyncGenerator[Transcript, None]:
        from openai import BadRequestError

        try:
            answer = await self._answer(client, wav, hint)
        except BadRequestError:
            if self._format == "json" or self._options.stt_verbose:
                raise
            self._format = "json"  # some servers with whisper models have nothing else
            answer = await self._answer(client, wav, hint)
        if isinstance(answer, str):
            raise ProviderBadAnswer(self.name, "the answer is not JSON")
        # Some servers tell it whatever the format, and the SDK keeps fields that it doesn't expect.
        told = language_named(getattr(answer, "language", None))
        segments = segments_of(getattr(answer, "segments", None))
        heard = spoken(segments)
        if segments and not heard:
            yield Transcript("", final=True)
            return
        text = answer.text if len(heard) == len(segments) else "".join(segment.text for segment in heard)
        yield Transcript(text.strip(), final=True, language=hint or told)

    async def _answer(
        self, client: "AsyncOpenAI", wav: bytes, hint: str
    ) -> "Transcription | TranscriptionVerbose | TranscriptionDiarized | str":
        from openai import omit

        return await client.audio.transcriptions.create(
            file=("speech.wav", wav, "audio/wav"),
            model=self._options.stt_model,
            language=omit if self._many else hint or omit,
            languages=[hint] if self._many and hint else omit,
            prompt=self._options.stt_prompt or omit,
            response_format=self._format,
        )

    async def _streamed(
        self, client: "AsyncOpenAI", wav: bytes, hint: str
    ) -> AsyncGenerator[Transcript, None]:
        from openai import omit

        text = ""
        async with await client.audio.transcriptions.create(
            file=("speech.wav", wav, "audio/wav"),
            model=self._options.stt_model,
            language=omit if self._many else hint or omit,
            languages=[hint] if self._many and hint else omit,
            prompt=self._options.stt_prompt or omit,
            response_format="json",
            stream=True,
        ) as events:
            async for event in events:
                if event.type == "transcript.text.delta":
                    text += event.delta
                    yield Transcript(text.strip(), final=False)
                elif event.type == "transcript.text.done":
                    told = language_named(event.languages[0].code) if event.languages else None
                    yield Transcript(event.text.strip(), final=True, language=told or hint or None)
