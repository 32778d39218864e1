"""Every exception this project raises on purpose.

    MimiError
    ├── ConfigError              broker.yaml or a MIMI_ variable is wrong; exit code 2
    ├── StartupError             a port is taken, libopus is missing, the data folder is not writable
    ├── ProtocolError            the far side sent something illegal; the connection or message is to blame
    │   ├── MqttError            an MQTT packet
    │   ├── MessageError         a control message (JSON)
    │   ├── AudioPacketError     an audio datagram
    │   ├── OggError             an Ogg Opus stream
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
    ├── RequestError             what a person or program asked of the server's records can't be done
    │   ├── NotFound             there is no such thing, or not for this caller
    │   ├── Forbidden            the caller sees the thing, and may not do this to it
    │   ├── Conflict             it was changed meanwhile, or there is one already
    │   ├── Invalid              a value that is not possible; the message says what is allowed
    │   │   └── FileTooLarge         a file is larger than allowed
    │   └── LimitReached         a quota or a rate; the message names it
    ├── CommandRefused           a request for a device can't be understood; the message says what is allowed
    ├── ToolError                a tool call failed; the message is shown to the model
    ├── ReminderError            a reminder can't be set, found or changed as it was asked for
    │   └── ReminderStale            it was changed or deleted while somebody else did so
    ├── StoreError               the database can't be opened, migrated or written
    ├── FilesError               the folder or bucket of files can't be read or written
    │   └── FileDamaged              the bytes of a file are missing, or are not those that were kept
    ├── BackupError              a backup can't be made, read or restored; nothing was changed by it
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
    """A password that was not checked; a later attempt may be, after `retry_after_s` where that is known."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class MqttError(ProtocolError):
    """A malformed, oversized or forbidden MQTT packet; `reason_code` is MQTT 5's for it (section 2.4)."""

    def __init__(self, message: str, reason_code: int = 0x81) -> None:
        super().__init__(message)
        self.reason_code = reason_code


class MessageError(ProtocolError):
    """A control message that is not the JSON it should be; names the field."""


class AudioPacketError(ProtocolError):
    """A datagram that is not a valid audio packet of its session."""


class OggError(ProtocolError):
    """An Ogg Opus stream that is broken, cut off, or not of the kind that devices play."""


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


class RequestError(MimiError):
    """A request about the server's records that can't be carried out; the message says why."""


class NotFound(RequestError):
    """There is no such thing, or the caller may not know of it."""


class Forbidden(RequestError):
    """The caller may know of the thing, but not do this to it; the message says who may."""


class Conflict(RequestError):
    """It was changed meanwhile, or something of that name is there already."""


class Invalid(RequestError):
    """A value that is not possible; the message says what is allowed."""


class FileTooLarge(Invalid):
    """A file that is larger than allowed; the message names the bound."""


class LimitReached(RequestError):
    """A quota or a rate is used up; the message names it, `retry_after_s` says when to try again."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CommandRefused(MimiError):
    """A request for a device that can't be understood; the message says what is allowed."""


class ToolError(MimiError):
    """A tool call failed; the message is handed to the language model."""


class ReminderError(MimiError):
    """A timer, alarm or reminder that can't be set, found or changed; the message says what is allowed."""


class ReminderStale(ReminderError):
    """A change of a timer, alarm or reminder that was changed, was due or was deleted meanwhile."""


class StoreError(MimiError):
    """The database can't be opened, migrated or written."""


class FilesError(MimiError):
    """The folder or bucket of files can't be read or written; the message says why and what to do."""


class FileDamaged(FilesError):
    """The bytes of a file are missing, or are not those that were kept."""


class BackupError(MimiError):
    """A backup can't be made, read or restored; what was there before is as it was."""


class DeviceFailure(MimiError):
    """The simulated device's conversation can't go on; the message says why and what to do."""
