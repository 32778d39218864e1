"""What the model is told of itself and of whom it talks to: the agent's prompt, filled in for each answer."""

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from mimi_mqtt.config.prompt import AgentFacts, DeviceFacts, Facts, PromptTemplate, UserFacts


class SystemPrompt:
    """One conversation's prompt. `timezone` None is this machine's; `now` is for tests."""

    def __init__(
        self,
        template: PromptTemplate,
        *,
        agent: str,
        device: DeviceFacts,
        user: UserFacts,
        timezone: str | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._template = template
        self._agent = AgentFacts(agent)
        self._device = device
        self._user = user
        zone = ZoneInfo(timezone) if timezone else None
        self._now = now or (lambda: datetime.now(zone) if zone else datetime.now().astimezone())
        self.memory = ""
        """What earlier conversations were about, once it is known."""

    def text(self, language: str) -> str:
        """The prompt now, for an answer in `language`, such as `en` or `zh-CN`."""
        return self._template.render(
            Facts(self._now(), language, self._device, self._user, self._agent, self.memory)
        )
