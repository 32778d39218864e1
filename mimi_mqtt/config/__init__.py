"""broker.yaml and MIMI_* variables become typed settings, validated once at start.

`settings` and `agents` declare every key with its default and documentation, `prompt` checks and fills in the
agents' templates, `loading` reads and validates, `rendering` writes the commented broker.yaml from the
declarations. Imports only `errors`; everything above takes its own section of `Settings` as an argument and
never reads the environment itself.
"""

from mimi_mqtt.config.agents import AgentSettings
from mimi_mqtt.config.bind import BindAddress
from mimi_mqtt.config.connections import HttpSettings, MqttSettings, OtaSettings, SharesSettings, UdpSettings
from mimi_mqtt.config.loading import load_settings, settings_file
from mimi_mqtt.config.people import OidcSettings, PeopleSettings
from mimi_mqtt.config.rendering import render_default_yaml
from mimi_mqtt.config.settings import (
    AccountSettings,
    BackupSettings,
    LogSettings,
    ServerSettings,
    SessionSettings,
    Settings,
    StoreSettings,
)
from mimi_mqtt.config.voice import ProviderSettings, VoiceSettings

__all__ = [
    "AccountSettings",
    "AgentSettings",
    "BackupSettings",
    "BindAddress",
    "HttpSettings",
    "LogSettings",
    "MqttSettings",
    "OidcSettings",
    "OtaSettings",
    "PeopleSettings",
    "ProviderSettings",
    "ServerSettings",
    "SessionSettings",
    "Settings",
    "SharesSettings",
    "StoreSettings",
    "UdpSettings",
    "VoiceSettings",
    "load_settings",
    "render_default_yaml",
    "settings_file",
]
