"""One POST whose answer is audio, passed on while it comes: for vendors whose speech is plain HTTP."""

from collections.abc import AsyncGenerator, Mapping, Sequence

import httpx
from pydantic import SecretStr

from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.providers.http.errors import readable, status_error
from mimi_mqtt.providers.http.samples import SampleReader
from mimi_mqtt.providers.http.service import HttpClient, http_errors
from mimi_mqtt.providers.runtime.resilience import Limits

_MAX_COMPLAINT_BYTES = 16_384


class HttpAudio(HttpClient):
    """A vendor's HTTP client. `cures` says for a status what to do about it."""

    def __init__(
        self, name: str, limits: Limits, secrets: Sequence[SecretStr | None], cures: Mapping[int, str]
    ) -> None:
        super().__init__(limits)
        self._name = name
        self._secrets = secrets
        self._cures = cures

    async def speech(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        sample_rate: int,
        query: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[SpeechChunk, None]:
        """The samples (raw, of `sample_rate` Hz, or a WAV file's) that `url` answers with.

        Raises ProviderError kinds.
        """
        client = await self.get()
        samples = SampleReader(self._name, sample_rate)
        async with (
            http_errors(self._name, self._limits, httpx.URL(url).host),
            client.stream("POST", url, headers=headers, content=body, params=query) as answer,
        ):
            await self._check(answer)
            async for piece in answer.aiter_bytes():
                if (chunk := samples.feed(piece)) is not None:
                    yield chunk
            samples.finish()

    async def _check(self, answer: httpx.Response) -> None:
        if not answer.is_success:
            complaint = b""
            async for piece in answer.aiter_bytes():
                complaint += piece
                if len(complaint) >= _MAX_COMPLAINT_BYTES:
                    break
            message = readable(complaint, self._secrets)
            raise status_error(self._name, answer.status_code, message, answer.headers, self._cures)
        kind = answer.headers.get("content-type", "")
        if kind.startswith(("text/", "application/json")):
            raise ProviderBadAnswer(self._name, f"answered {kind} instead of audio")
