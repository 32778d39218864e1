"""Photos of devices' cameras: where they are posted, with which token, and which model looks at them."""

import contextvars
import time
from collections.abc import Callable, Sequence

from starlette.routing import BaseRoute

from mimi_mqtt.app.fleet import FleetParts
from mimi_mqtt.app.foundation import Foundation
from mimi_mqtt.app.records import Records
from mimi_mqtt.commands.screenshots import Belonging
from mimi_mqtt.commands.vision import VISION_PATHS, Vision, VisionTokens
from mimi_mqtt.fleet.agents import AgentCatalog
from mimi_mqtt.http.device.vision import PhotoQuestions
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.shares import Ledger
from mimi_mqtt.tools.device_mcp import NO_VISION, VisionAccess
from mimi_mqtt.voice.pool import VoicePool

_PURPOSE = "tokens of cameras"


class Sight:
    """Questions about photos, and the tokens by which devices ask them. `origin` tells the start of the HTTP
    address by which a device reaches this server. The photo of a conversation whose sound is kept is kept,
    too."""

    def __init__(
        self,
        foundation: Foundation,
        fleet: FleetParts,
        records: Records,
        sessions: SessionManager,
        agents: AgentCatalog,
        pool: VoicePool,
        *,
        origin: Callable[[str], str | None],
    ) -> None:
        credentials, directory = foundation.credentials, fleet.directory

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
            services = pool.newest(agents.of(device).key).services
            return services.vision or services.llm

        self._tokens = VisionTokens(keys, session_of)
        self._vision = Vision(model_of)
        self._origin = origin
        self._fleet = fleet
        self._records = records
        self._sessions = sessions
        sessions.discovery.vision = self.access

    def access(self, device_id: str) -> VisionAccess:
        """Where a device's camera posts photos in its present session."""
        origin = self._origin(device_id)
        if origin is None:
            return NO_VISION
        return f"{origin}{VISION_PATHS[0]}", self._tokens.grant(device_id, time.time())

    def routes(self, ledger: Ledger) -> Sequence[BaseRoute]:
        """The routes at which photos are posted."""
        return PhotoQuestions(self._vision, self._tokens, ledger, self._keep_photo).routes()

    def _keep_photo(self, device_id: str, session_id: str, photo: bytes) -> None:
        """Keeps the photo of a conversation whose sound is kept, too."""
        if self._records.recorder.records(session_id):
            belonging = self._fleet.belonging(device_id) or Belonging()
            work = self._records.files.keep_photo(device_id, session_id, belonging, photo)
            self._sessions.spawn(work, "storing of a photo", contextvars.copy_context())
