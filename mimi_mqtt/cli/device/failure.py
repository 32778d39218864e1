"""Why the simulated device gave up."""

from mimi_mqtt.errors import MimiError


class DeviceFailure(MimiError):
    """The conversation can't go on; the message says why and what to do."""
