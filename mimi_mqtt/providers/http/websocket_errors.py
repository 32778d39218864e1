"""What becomes of a WebSocket to a service, in our own terms."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pydantic import SecretStr
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
)

from mimi_mqtt.errors import ProviderBadAnswer, ProviderRefused, ProviderUnavailable
from mimi_mqtt.providers.http.errors import readable, status_error

# RFC 6455, section 7.4.1.
_POLICY_VIOLATION = 1008
_MESSAGE_TOO_BIG = 1009


@contextmanager
def websocket_errors(
    name: str,
    url: str,
    *,
    secrets: Sequence[SecretStr | None] = (),
    cures: Mapping[int, str] | None = None,
) -> Iterator[None]:
    """Inside, a connection to `url` is made and used; outside, there are ProviderErrors for what befalls it.

    `cures` are by HTTP status. A TimeoutError passes: who waits says for how long.
    """
    try:
        yield
    except InvalidStatus as error:
        response = error.response
        message = readable(bytes(response.body or b""), secrets)
        if response.status_code < 400:
            raise ProviderBadAnswer(
                name, f"{_place(url)} is no WebSocket service (HTTP {response.status_code})"
            ) from error
        answered = {key.lower(): value for key, value in response.headers.raw_items()}
        raise status_error(name, response.status_code, message, answered, cures) from error
    except InvalidMessage as error:
        if isinstance(error.__cause__, EOFError):
            raise ProviderUnavailable(name, f"{_place(url)} hung up") from error
        raise ProviderBadAnswer(name, f"{_place(url)} is no WebSocket service") from error
    except (InvalidURI, InvalidHandshake) as error:
        raise ProviderBadAnswer(name, f"{_place(url)} is no WebSocket service") from error
    except ConnectionClosed as error:
        if error.sent is not None and error.sent.code == _MESSAGE_TOO_BIG:
            raise ProviderBadAnswer(name, "an answer of more than 1 MiB") from error
        closed = error.rcvd
        message = readable(closed.reason, secrets) if closed else ""
        if closed is not None and closed.code == _POLICY_VIOLATION:
            raise ProviderRefused(name, f"refused: {message or closed.code}") from error
        why = f"{closed.code} {message}".strip() if closed else "connection lost"
        raise ProviderUnavailable(name, f"hung up in the middle ({why})") from error
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise
        cause = error.strerror or type(error).__name__
        raise ProviderUnavailable(name, f"can't reach {_place(url)} ({cause})") from error


def _place(url: str) -> str:
    return url.partition("?")[0]
