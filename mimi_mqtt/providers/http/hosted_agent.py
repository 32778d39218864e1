"""An agent that lives in somebody's service, with its own prompt and its own tools, over plain HTTP."""

from mimi_mqtt.providers.catalog.requirements import demand
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.http.service import HttpService


class HostedAgent(LanguageModel):
    """It acts by itself, so that asking it may have effects, and can't go on with another's answer."""

    has_side_effects = True
    can_continue = False
    _http: HttpService

    async def start(self) -> None:
        """Makes the client. Raises ProviderNotConfigured."""
        demand(self.name, self.options)
        await self._http.get()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()
