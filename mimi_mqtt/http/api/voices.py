"""Voices of the local models: what there is, how to get it, and how a voice sounds."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from mimi_mqtt.config.agents import DEFAULT_AGENT, FASTEST, LANGUAGE_TAG, SLOWEST
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.providers.catalog.local_models import models_folder
from mimi_mqtt.providers.catalog.voice_list import listed_voices
from mimi_mqtt.voice.speech.sample import SampleWish

router = APIRouter(tags=["voices"])

MAX_SAMPLE_CHARS = 300
"""Longest text of a sample."""

_TAG = rf"^(?:{LANGUAGE_TAG.pattern})$"


class Voice(BaseModel):
    """A voice of a local model; `name` is what an agent's `voice` takes."""

    name: str
    language: str
    languages: list[str]
    gender: str
    model: str
    provider: str
    ready: bool
    cure: str = Field(description="The command that makes it usable; empty when it is")


class Voices(BaseModel):
    """Voices of the local models."""

    items: list[Voice]


class SampleIn(BaseModel):
    """A text to say, as an agent does, or by another voice."""

    text: str = Field(min_length=1, max_length=MAX_SAMPLE_CHARS)
    agent: str = Field(default=DEFAULT_AGENT, max_length=32)
    language: str = Field(default="", max_length=35, pattern=rf"^$|{_TAG}")
    voice: str = Field(default="", max_length=128)
    gender: Literal["", "female", "male"] = ""
    speed: float | None = Field(default=None, ge=SLOWEST, le=FASTEST)


@router.get("/voices")
def list_voices(
    services: Services,
    caller: Annotated[Caller, callers(Scope.AGENTS_READ)],
    language: Annotated[str, Query(max_length=35, pattern=rf"^$|{_TAG}")] = "",
    gender: Literal["", "female", "male"] = "",
    installed: Annotated[bool, Query(description="Only those that can be used now")] = False,
) -> Voices:
    """The voices of the local models. Those of services are listed by the services."""
    del caller
    folder = models_folder(services.managed.in_force().providers)
    found = listed_voices(folder, language=language, gender=gender, installed=installed)
    return Voices(
        items=[
            Voice(
                name=each.name,
                language=each.language,
                languages=list(each.languages),
                gender=each.gender,
                model=each.model,
                provider=each.provider,
                ready=not each.cure,
                cure=each.cure,
            )
            for each in found
        ]
    )


@router.post("/voices/sample", response_class=Response, responses={200: {"content": {"audio/wav": {}}}})
async def sample_voice(
    body: SampleIn, services: Services, caller: Annotated[Caller, callers(Scope.AGENTS_WRITE)]
) -> Response:
    """A text as an agent or a voice says it: WAV, 16 bits, mono. One at a time, at most 30 s."""
    del caller
    wish = SampleWish(body.language, body.voice, body.gender, body.speed)
    content = await services.samples.wav(body.text, body.agent, wish)
    return Response(content, media_type="audio/wav", headers={"Cache-Control": "no-store"})
