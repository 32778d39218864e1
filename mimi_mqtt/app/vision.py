"""Photos of devices' cameras: where they are posted, with which token, and which model looks at them."""

import time
from collections.abc import Callable, Sequence

from starlette.routing import BaseRoute

from mimi_mqtt.commands.vision import VISION_PATHS, Vision, VisionTokens
from mimi_mqtt.fleet.agents import AgentCatalog
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.http.device.vision import Keep, PhotoQuestions
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.shares import Ledger
from mimi_mqtt.tools.device_mcp import NO_VISION, VisionAccess
from mimi_mqtt.voice.pool import VoicePool

_PURPOSE = "tokens of cameras"


class Sight:
    """Questions about photos, and the tokens by which devices ask them. `origin` tells the start of the HTTP
    address by which a device reaches this server, `keep` may keep a photo."""

    def __init__(
        self,
        credentials: Credentials,
        sessions: SessionManager,
        directory: DeviceDirectory,
        agents: AgentCatalog,
        voices: VoicePool,
        *,
        origin: Callable[[str], str | None],
        keep: Keep,
    ) -> None:
        def keys() -> tuple[bytes, ...]:
            old = credentials.old_key(_PURPOSE)
            return (credentials.key(_PURPOSE), *([old] if old is not None else []))

        def session_of(device_id: str) -> str:
            session = sessions.session(device_id)
            return session.session_id if session is not None else ""

        def model_of(device_id: str) -> LanguageModel | None:
            device = directory.get(device_id)
            if device is None:
                return None
            services = voices.newest(agents.of(device).key).services
            return services.vision or services.llm

        self._tokens = VisionTokens(keys, session_of)
        self._vision = Vision(model_of)
        self._origin = origin
        self._keep = keep
        sessions.discovery.vision = self.access

    def access(self, device_id: str) -> VisionAccess:
        """Where a device's camera posts photos in its present session."""
        origin = self._origin(device_id)
        if origin is None:
            return NO_VISION
        return f"{origin}{VISION_PATHS[0]}", self._tokens.grant(device_id, time.time())

    def routes(self, ledger: Ledger) -> Sequence[BaseRoute]:
        """The routes at which photos are posted."""
        return PhotoQuestions(self._vision, self._tokens, ledger, self._keep).routes()
