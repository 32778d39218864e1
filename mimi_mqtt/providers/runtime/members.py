"""The providers of a chain: their order by health and pace, and one request that moves from one to the next.

A provider that keeps failing is rested: it is asked last, not never. With hedging, the next one is also asked
when one is slow to begin; never are two heard.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from prometheus_client import Counter

from mimi_mqtt.errors import ProviderError, ProviderNotConfigured, ProviderUnavailable
from mimi_mqtt.events import EventBus
from mimi_mqtt.providers.contract.provider import Provider
from mimi_mqtt.providers.runtime.breaker import Breaker, Health, Pace
from mimi_mqtt.providers.runtime.hedging import Hedge, race
from mimi_mqtt.providers.runtime.resilience import may_have_acted, provider_border
from mimi_mqtt.providers.runtime.shared_task import SharedTask

_log = logging.getLogger(__name__)

P = TypeVar("P", bound=Provider)
T = TypeVar("T")

_fallbacks = Counter(
    "mimi_provider_fallbacks",
    "Requests that moved on to the next provider, by the one left.",
    ["role", "name"],
)

_hedges = Counter(
    "mimi_provider_hedges",
    "Requests in which this provider was slow to begin and the next one was asked too.",
    ["role", "name"],
)
_hedges_won = Counter(
    "mimi_provider_hedges_won",
    "Requests in which this provider was asked second and began first.",
    ["role", "name"],
)


@dataclass(slots=True)
class _Member(Generic[P]):
    provider: P
    health: Health
    pace: Pace
    started: bool = False
    starting: SharedTask[None] = field(init=False)

    def __post_init__(self) -> None:
        self.starting = SharedTask(f"start of {self.provider.name}", self._start)

    @property
    def last_resort(self) -> bool:
        """See `Provider`."""
        return self.provider.last_resort

    async def _start(self) -> None:
        await self.provider.start()
        self.started = True


@dataclass(slots=True)
class _Question(Generic[P, T]):
    """One request in a chain: the providers not asked yet, the number that is being asked, the failures."""

    request: Callable[[P], AsyncGenerator[T, None]]
    waiting: "deque[_Member[P]]"
    asked: int = 0
    errors: list[ProviderError] = field(default_factory=list)
    acted: bool = False
    """True when a provider may have carried the request out: another with side effects would repeat it."""


class Members(Generic[P]):
    """The providers of a chain, in order of preference, with their health."""

    def __init__(self, providers: Sequence[P], breaker: Breaker | None, hedge_s: float) -> None:
        self.name = "+".join(provider.name for provider in providers)
        self._role = providers[0].role
        self._hedge_s = hedge_s
        rule = breaker or Breaker()
        self._members = [
            _Member(
                provider,
                Health(provider.role, provider.name, rule),
                Pace(provider.role, provider.name, rule.clock),
            )
            for provider in providers
        ]

    @property
    def providers(self) -> Sequence[P]:
        """Its providers, in order of preference."""
        return [member.provider for member in self._members]

    def observe(self, events: EventBus) -> None:
        """Tells `events` of each from now on."""
        for member in self._members:
            member.health.events = events

    async def start(self, spare: Callable[[P, Sequence[P]], bool] = lambda provider, before: False) -> None:
        """Starts all but those that are `spare`, given those before them: these are started when asked.

        A failed start is repeated later. Raises ProviderNotConfigured when none of all works.
        """
        standing_by = self._spare(spare)
        first = [member for member in self._members if member not in standing_by]
        errors = [error for error in await asyncio.gather(*map(self._try_start, first)) if error]
        # Those that started may know less than they seemed to: some tell their languages only now.
        wanted = [member for member in standing_by if errors or member not in self._spare(spare)]
        errors += [error for error in await asyncio.gather(*map(self._try_start, wanted)) if error]
        if len(errors) == len(self._members):
            raise ProviderNotConfigured(self.name, "; ".join(map(str, errors))) from errors[0]

    def _spare(self, spare: Callable[[P, Sequence[P]], bool]) -> "list[_Member[P]]":
        return [
            member
            for at, member in enumerate(self._members)
            if spare(member.provider, [before.provider for before in self._members[:at]])
        ]

    async def _try_start(self, member: _Member[P]) -> ProviderError | None:
        try:
            await self._ensure_started(member, timeout_s=None)
        except ProviderError as error:
            _log.warning("%s can't start, others take its place: %s", self._role, error)
            member.health.failed(error)
            return error
        return None

    async def _ensure_started(self, member: _Member[P], timeout_s: float | None) -> None:
        """Starts `member` once; `timeout_s` bounds the wait of a user for it, not the start itself, which
        the next request finds further on."""
        if member.started:
            return
        provider = member.provider
        async with provider_border(provider.name, provider.limits), asyncio.timeout(timeout_s):
            await member.starting.result()

    async def aclose(self) -> None:
        """Closes all; a failure does not keep the others open."""
        for member in self._members:
            await member.starting.aclose()
            try:
                async with provider_border(member.provider.name, member.provider.limits):
                    await member.provider.aclose()
            except ProviderError as error:
                _log.warning("%s did not close: %s", self._role, error)
            member.started = False

    async def check(self, request: Callable[[P], Awaitable[str]]) -> str:
        """Sends each a real request; their replies. Raises ProviderUnavailable when none works."""
        lines, errors = [], []
        for member in self._members:
            try:
                await self._ensure_started(member, timeout_s=None)
                lines.append(f"{member.provider.name}: {await request(member.provider)}")
            except ProviderError as error:
                errors.append(error)
                lines.append(f"FAILED {error}")
        if len(errors) == len(self._members):
            raise self._all_failed(errors) from errors[0]
        return "; ".join(lines)

    async def ask(
        self,
        request: Callable[[P], AsyncGenerator[T, None]],
        *,
        supports: Callable[[P], bool] = lambda provider: True,
        prefers: Callable[[P], bool] = lambda provider: False,
        can_continue: Callable[[P], bool] = lambda provider: False,
        asked_all: Callable[[], Awaitable[None]] | None = None,
        begins: Callable[[T], bool] = lambda part: True,
    ) -> AsyncGenerator[T, None]:
        """The first answer given; only providers for which `supports` holds are asked, if there are any,
        and those for which `prefers` holds before others.

        `request` is made anew for each; `can_continue` is true for a provider that can go on with an answer
        of which parts were passed on, when the one before is lost in the middle: none by default. For
        hedging: `asked_all` returns when the request is complete, as speech is at its end; `begins` tells the
        part by which the answer has begun. Raises ProviderError when no provider could answer.
        """
        question = _Question(request, deque(self._in_order(supports, prefers)))
        began = False
        while question.waiting:
            delivered = False
            try:
                async with aclosing(self._attempt(question, asked_all, begins)) as parts:
                    async for part in parts:
                        delivered = True
                        yield part
                return
            except ProviderError:
                began = began or delivered
                question.waiting = deque(
                    member
                    for member in question.waiting
                    if not (began and not can_continue(member.provider))
                    and not (question.acted and member.provider.has_side_effects)
                )
        raise self._all_failed(question.errors) from question.errors[0]

    def _attempt(
        self,
        question: _Question[P, T],
        asked_all: Callable[[], Awaitable[None]] | None,
        begins: Callable[[T], bool],
    ) -> AsyncGenerator[T, None]:
        """The next provider's answer, or the first of the next two."""
        member = question.waiting.popleft()
        answer = self._ask_one(member, question)
        rival = question.waiting[0] if question.waiting else None
        if not self._hedge_s or rival is None or not rival.health.ready:
            return answer
        if member.provider.has_side_effects or rival.provider.has_side_effects:
            return answer
        if rival.last_resort and self._role != "tts":
            return answer  # it always begins first, with words that are worth less than a little patience

        failures = len(question.errors)

        async def due() -> None:
            if asked_all is not None:
                await asked_all()
            await asyncio.sleep(self._hedge_s)

        def ask_rival() -> AsyncGenerator[T, None]:
            question.waiting.remove(rival)
            _hedges.labels(self._role, member.provider.name).inc()
            return self._ask_one(rival, question)

        def rescued() -> None:
            _hedges_won.labels(self._role, rival.provider.name).inc()
            if rival.last_resort or len(question.errors) > failures:
                return  # the last resort is always fast, and a failure is counted by the breaker
            if seconds := member.pace.lost():
                _log.warning(
                    "%s %s is slower than %s again and again: for %.0f s it is asked after it",
                    *(self._role, member.provider.name, rival.provider.name, seconds),
                )

        return race(answer, ask_rival, Hedge(due, begins, member.pace.won, rescued))

    async def _ask_one(self, member: _Member[P], question: _Question[P, T]) -> AsyncGenerator[T, None]:
        """The answer of `member`; updates its breaker. Raises ProviderError."""
        delivered = False
        question.asked += 1
        with member.health.trying():
            try:
                await self._ensure_started(member, member.provider.limits.timeout_s)
                async with aclosing(question.request(member.provider)) as parts:
                    async for part in parts:
                        delivered = True
                        yield part
            except ProviderError as error:
                self._failed(member, error)
                question.errors.append(error)
                question.acted |= member.provider.has_side_effects and may_have_acted(error)
                if question.waiting or question.asked > 1:
                    _fallbacks.labels(self._role, member.provider.name).inc()
                    _log.info("%s gave way: %s", self._role, error)
                raise
            except (GeneratorExit, asyncio.CancelledError):
                if delivered:
                    self._worked(member)
                raise
            else:
                self._worked(member)
            finally:
                question.asked -= 1

    def _in_order(self, supports: Callable[[P], bool], prefers: Callable[[P], bool]) -> list[_Member[P]]:
        able = [member for member in self._members if supports(member.provider)] or self._members
        order = sorted(able, key=lambda member: (not member.health.ready, not prefers(member.provider)))
        at = 0
        while at + 1 < len(order):
            member, after = order[at : at + 2]
            if member.pace.slow and not after.pace.slow and after.health.ready and not after.last_resort:
                order[at : at + 2] = after, member
                at += 1
            at += 1
        return order

    def _all_failed(self, errors: Sequence[ProviderError]) -> ProviderError:
        if len(errors) == 1:
            return errors[0]
        return ProviderUnavailable(self.name, "no provider could answer: " + "; ".join(map(str, errors)))

    def _worked(self, member: _Member[P]) -> None:
        if member.health.worked():
            _log.info("%s %s works again", self._role, member.provider.name)

    def _failed(self, member: _Member[P], error: ProviderError) -> None:
        if rest_s := member.health.failed(error):
            _log.warning("%s: resting for %.0f s after %s", self._role, rest_s, error)
