"""The choice of a device's agent, at the request of a person or program."""

from datetime import UTC, datetime

from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.errors import NotFound
from mimi_mqtt.fleet.agents import AgentCatalog
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.store import audit, devices
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store


class AgentChoice:
    """Implements `commands.ports.AgentControl`."""

    def __init__(self, store: Store, directory: DeviceDirectory, agents: AgentCatalog) -> None:
        self._store = store
        self._directory = directory
        self._agents = agents

    async def set_agent(self, device_id: str, agent: str, author: Author) -> None:
        """Gives the device an agent, and leaves an entry in the audit. Raises NotFound and StoreError."""
        agent = "" if agent == DEFAULT_AGENT else agent
        if agent and self._agents.find(agent) is None:
            raise NotFound(f"there is no agent {agent!r}")
        async with self._store.write() as session:
            device = await devices.get(session, device_id, lock=True)
            if device is None:
                raise NotFound(f"there is no device {device_id}")
            if device.agent == agent:
                return
            before, device.agent = device.agent, agent
            await devices.save_changed(session, device, datetime.now(UTC))
            audit.record(
                session, author, "device.agent", f"device:{device_id}",
                before={"agent": before}, after={"agent": agent},
            )  # fmt: skip
        self._directory.apply(device)
