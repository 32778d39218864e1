"""Every exception this project raises on purpose.

    MimiError
    ├── ConfigError              broker.yaml or a MIMI_ variable is wrong; exit code 2
    ├── StartupError             a port is taken, libopus is missing, the data folder is not writable
    ├── ProtocolError            the far side sent something illegal; the connection or message is to blame
    │   ├── MqttError            an MQTT packet
    │   ├── MessageError         a control message (JSON)
    │   ├── AudioPacketError     an audio datagram
    │   └── OtaError             an OTA or activation request
    ├── AudioError               libopus or the resampler refused
    ├── PlayoutError             a reply could not be sent to its device
    ├── ProviderError            a speech or language provider failed; says which and whether a retry may help
    │   ├── ProviderNotConfigured    a key, a package or a model is missing
    │   ├── ProviderRefused          wrong key, unknown model, request refused: a retry will not help
    │   ├── ProviderRateLimited      too many requests; `retry_after_s` when the vendor says so
    │   ├── ProviderTimeout          no (further) answer in time
    │   ├── ProviderUnavailable      connection refused or cut, 5xx
    │   └── ProviderBadAnswer        an answer that can't be understood
    ├── ModelError               a local model can't be downloaded, unpacked or used as it lies there
    ├── LoginRefused             a password was not checked: too many were wrong, or too many wait
    ├── FleetError               a person named a device or code that there is none of
    ├── CommandRefused           a request for a device can't be understood; the message says what is allowed
    ├── ToolError                a tool call failed; the message is shown to the model
    ├── StoreError               the database can't be opened, migrated or written
    └── DeviceFailure            the simulated device gave up

Each message is for the person who has to mend it: what is wrong, where, and what to do.
"""


class MimiError(Exception):
    """The root: catching it catches every failure this project knows of."""


class ConfigError(MimiError):
    """The configuration is wrong; the message names the key, its line and what is allowed."""


class StartupError(MimiError):
    """The server can't start on this machine as it is; the message says what to change."""


class ProtocolError(MimiError):
    """The far side broke the protocol; only its own message or connection is affected."""


class LoginRefused(MimiError):
    """A password that was not checked; a later attempt may be."""


class MqttError(ProtocolError):
    """A malformed, oversized or forbidden MQTT packet."""


class MessageError(ProtocolError):
    """A control message that is not the JSON it should be; names the field."""


class AudioPacketError(ProtocolError):
    """A datagram that is not a valid audio packet of its session."""


class OtaError(ProtocolError):
    """An OTA or activation request without what is required of it."""


class AudioError(MimiError):
    """libopus or the resampler refused its input."""


class PlayoutError(MimiError):
    """Sending a reply to its device failed; the reply is given up."""


class ProviderError(MimiError):
    """A provider failed. `provider` is its name, `retryable` whether the same request may succeed later,
    `not_sent` whether the request surely never reached the vendor, so that it can't have had an effect."""

    retryable = False

    def __init__(self, provider: str, message: str, *, not_sent: bool = False) -> None:
        super().__init__(f"{provider}: {message}")
        self.provider = provider
        self.not_sent = not_sent


class ProviderNotConfigured(ProviderError):
    """A key, a package or a model file is missing."""


class ProviderRefused(ProviderError):
    """The vendor refused: wrong key, unknown model, bad request."""


class ProviderRateLimited(ProviderError):
    """The vendor asks to slow down; `retry_after_s` is its own word for how long, when it gave one."""

    retryable = True

    def __init__(self, provider: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(provider, message)
        self.retry_after_s = retry_after_s


class ProviderTimeout(ProviderError):
    """No answer, or no further part of it, in time."""

    retryable = True


class ProviderUnavailable(ProviderError):
    """The vendor can't be reached, cut the connection or answered 5xx."""

    retryable = True


class ProviderBadAnswer(ProviderError):
    """The vendor answered with something that can't be understood."""


class ModelError(MimiError):
    """A local model can't be installed or is damaged; the message says what to do."""


class FleetError(MimiError):
    """No such device or code, or more than one; the message says how to find the right one."""


class CommandRefused(MimiError):
    """A request for a device that can't be understood; the message says what is allowed."""


class ToolError(MimiError):
    """A tool call failed; the message is handed to the language model."""


class StoreError(MimiError):
    """The database can't be opened, migrated or written."""


class DeviceFailure(MimiError):
    """The simulated device's conversation can't go on; the message says why and what to do."""
