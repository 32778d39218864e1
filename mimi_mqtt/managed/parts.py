"""The parts behind the API's routes for agents, providers, prices and voices."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mimi_mqtt.config import Settings
from mimi_mqtt.managed.previews import PromptPreviews
from mimi_mqtt.managed.resources import ManagedResources
from mimi_mqtt.managed.trials import ProviderTrials
from mimi_mqtt.managed.watching import WatchedResources
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.catalog.overview import Listing, listings
from mimi_mqtt.providers.catalog.selection import select_of_agent, select_providers
from mimi_mqtt.providers.contract.provider import Role


@dataclass(frozen=True, slots=True)
class ManagedParts:
    """The managed resources as routes call them.

    `base` returns the settings of broker.yaml and the environment, `in_force` those with the managed
    resources under them; `environ` has the keys of providers.
    """

    resources: ManagedResources
    watched: WatchedResources
    trials: ProviderTrials
    previews: PromptPreviews
    base: Callable[[], Settings]
    in_force: Callable[[], Settings]
    environ: Mapping[str, str]

    def providers_of_agents(self) -> dict[str, dict[str, list[str]]]:
        """The providers of each agent in force by role, in the order in which they are asked."""
        asked = select_providers(self.in_force(), self.environ)
        return {
            agent: {role: list(names) for role, names in of_agent.items() if names}
            for agent, of_agent in asked.items()
        }

    def providers_of(self, key: str) -> dict[str, list[str]]:
        """The providers of one agent in force by role; empty for one that there is none of."""
        settings = self.in_force()
        agent = settings.every_agent.get(key)
        if agent is None:
            return {}
        asked = select_of_agent(settings, key, agent, self.environ)
        return {role: list(names) for role, names in asked.items() if names}

    async def listings(self) -> Sequence[Listing]:
        """Every provider by role, as things are now. Looks for packages and models, in a thread."""
        return await asyncio.to_thread(listings, self.in_force(), self.environ)

    def roles(self, name: str) -> list[Role]:
        """The roles that the provider `name` plays."""
        return list(registry.option_models(name))
