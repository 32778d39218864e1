"""Timed tests of the stages of a conversation: hear and think. `POST /voices/sample` is that of speaking."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from mimi_mqtt.config.agents import LANGUAGE_TAG
from mimi_mqtt.errors import Invalid
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.bodies import stream
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.managed.trials import StageResult
from mimi_mqtt.people.access import Caller, Scope

router = APIRouter(prefix="/stages", tags=["providers"])

MAX_RECORDING_BYTES = 2_000_000
"""Longest recording: 10 s of two channels at 48 kHz."""
LANGUAGE = rf"^$|^(?:{LANGUAGE_TAG.pattern})$"
MAX_QUESTION_CHARS = 500
MAX_SENTENCE_CHARS = 200

Tester = Annotated[Caller, callers(Scope.PROVIDERS_WRITE)]


class SentenceIn(BaseModel):
    """A sentence that the server says, and then listens to."""

    sentence: str = Field(min_length=1, max_length=MAX_SENTENCE_CHARS)
    language: str = Field(default="", max_length=35, pattern=LANGUAGE, description="Empty: the agent's")


class QuestionIn(BaseModel):
    """A question."""

    question: str = Field(min_length=1, max_length=MAX_QUESTION_CHARS)


class StageTest(BaseModel):
    """How a stage went; times in ms."""

    ok: bool
    asked: list[str] = Field(description="Providers in the order of asking: the next one when one fails")
    text: str = Field(description="What was understood, or answered")
    said: str = Field(description="The sentence that the server said; empty for a recording")
    error: str
    start_ms: float | None = Field(description="To load or connect; conversations find it done")
    first_ms: float | None = Field(description="To the first of the answer")
    answer_ms: float | None


@router.post("/hear/recording")
async def hear_recording(
    request: Request,
    services: Services,
    caller: Tester,
    language: Annotated[str, Query(max_length=35, pattern=LANGUAGE)] = "",
) -> StageTest:
    """Recognises the speech of a recording: a WAV file of 16 bits, at most 10 s, as the body. One at
    a time."""
    del caller
    content = b"".join([part async for part in stream(request, MAX_RECORDING_BYTES)])
    if not content:
        raise Invalid("send a WAV file as the body")
    return _told(await services.stages.hear(content, "", language))


@router.post("/hear")
async def hear_sentence(body: SentenceIn, services: Services, caller: Tester) -> StageTest:
    """Recognises the speech of a sentence that the server says itself, without a microphone. One at a
    time."""
    del caller
    return _told(await services.stages.hear(b"", body.sentence, body.language))


@router.post("/think")
async def think(body: QuestionIn, services: Services, caller: Tester) -> StageTest:
    """The answer to a question by the language model that the default agent asks. One at a time."""
    del caller
    return _told(await services.stages.think(body.question))


def _told(result: StageResult) -> StageTest:
    return StageTest(
        ok=not result.error,
        asked=list(result.asked),
        text=result.text,
        said=result.said,
        error=result.error,
        start_ms=_ms(result.start_s),
        first_ms=_ms(result.first_s),
        answer_ms=_ms(result.answer_s),
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
