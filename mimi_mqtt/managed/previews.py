"""An agent's prompt as a language model would get it for a device, without asking one."""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from mimi_mqtt.config import Settings
from mimi_mqtt.config.prompt import (
    AgentFacts,
    DeviceFacts,
    Facts,
    PromptTemplate,
    TemplateFault,
    UserFacts,
)
from mimi_mqtt.errors import Invalid, NotFound
from mimi_mqtt.fleet.directory import DeviceInfo


class WrongTemplate(Invalid):
    """A prompt that is no right template. `line` is where, from 1; None where that is not known."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line


@dataclasses.dataclass(frozen=True, slots=True)
class PreviewedPrompt:
    """A prompt that was filled in, and the variables that it could use by their names in a template."""

    text: str
    variables: Mapping[str, str]


class PromptPreviews:
    """Fills in prompts. `settings` returns the settings in force, `device` finds a device by its id."""

    def __init__(self, settings: Callable[[], Settings], device: Callable[[str], DeviceInfo | None]) -> None:
        self._settings = settings
        self._device = device

    async def render(
        self, key: str, *, prompt: str | None = None, name: str | None = None, device_id: str | None = None
    ) -> PreviewedPrompt:
        """The prompt of the agent `key`, or `prompt` in its place, for a device, or for nobody in particular.

        Raises NotFound for an agent or device that there is none of, WrongTemplate.
        """
        settings = self._settings()
        agent = settings.every_agent.get(key)
        if agent is None:
            raise NotFound(f"there is no agent {key[:64]!r}")
        device, user = DeviceFacts(), UserFacts()
        if device_id is not None:
            known = self._device(device_id)
            if known is None:
                raise NotFound(f"there is no device {device_id[:64]!r}")
            device, user = known.facts, UserFacts(known.user_name, known.language)
        zone = ZoneInfo(settings.server.timezone) if settings.server.timezone else None
        facts = Facts(
            datetime.now(zone) if zone else datetime.now().astimezone(),
            agent.language or user.language or settings.server.language,
            device,
            user,
            AgentFacts(agent.name if name is None else name),
        )
        source = agent.prompt if prompt is None else prompt
        try:
            # A template takes some ms, which conversations need not wait for.
            text = await asyncio.to_thread(lambda: PromptTemplate(source).render(facts))
        except TemplateFault as error:
            raise WrongTemplate(f"prompt: {error}", error.line) from None
        return PreviewedPrompt(text, _named(facts))


def _named(facts: Facts) -> dict[str, str]:
    """The facts by the names that a template calls them, as text."""
    found: dict[str, str] = {}
    for name, value in facts.variables().items():
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            found |= {
                f"{name}.{field.name}": str(getattr(value, field.name)) for field in dataclasses.fields(value)
            }
        else:
            found[name] = value.isoformat(timespec="minutes") if isinstance(value, datetime) else str(value)
    return found
