from collections.abc import AsyncIterator

import pytest

from mimi_mqtt.config import SharesSettings
from mimi_mqtt.people.accounts import Accounts
from mimi_mqtt.store.engine import Store
from tests.fakes.people import Keys


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
async def people(store: Store, keys: Keys) -> AsyncIterator[Accounts]:
    """Accounts, of which nobody has too many wrong passwords."""
    built = Accounts.build(store, keys, shares=SharesSettings(failed_logins=1_000))
    yield built
    await built.aclose()
