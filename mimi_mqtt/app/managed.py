"""Settings that people make at run time, built for the server: read at start, watched, handed to the API."""

from collections.abc import Awaitable, Callable, Mapping

from mimi_mqtt.config import Settings
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.directory import DeviceInfo
from mimi_mqtt.managed.parts import ManagedParts
from mimi_mqtt.managed.previews import PromptPreviews
from mimi_mqtt.managed.resources import ManagedResources
from mimi_mqtt.managed.trials import ProviderTrials
from mimi_mqtt.managed.watching import WatchedResources
from mimi_mqtt.store.engine import Store


async def load_managed(
    store: Store,
    credentials: Credentials,
    environ: Mapping[str, str],
    *,
    base: Callable[[], Settings],
    in_force: Callable[[], Settings],
    put_in_force: Callable[[], Awaitable[None]],
    device: Callable[[str], DeviceInfo | None],
) -> ManagedParts:
    """Reads the managed resources. Raises StoreError."""
    resources = ManagedResources(store, credentials, environ, base)
    watched = WatchedResources(store, credentials, environ, resources, put_in_force)
    await watched.load()
    return ManagedParts(
        resources,
        watched,
        ProviderTrials(in_force, environ, base, resources.draft),
        PromptPreviews(in_force, device),
        base,
        in_force,
        environ,
    )
