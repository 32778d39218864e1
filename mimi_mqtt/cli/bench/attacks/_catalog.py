"""All attacks by name."""

from collections.abc import Awaitable, Callable
from typing import Final

from mimi_mqtt.cli.bench.attacks import _account_attacks as account
from mimi_mqtt.cli.bench.attacks import _audio_attacks as audio
from mimi_mqtt.cli.bench.attacks import _http_attacks as http
from mimi_mqtt.cli.bench.attacks import _mqtt5_attacks as mqtt5
from mimi_mqtt.cli.bench.attacks import _mqtt_attacks as mqtt
from mimi_mqtt.cli.bench.attacks import _websocket_attacks as websocket
from mimi_mqtt.cli.bench.attacks._target import Target

Attack = Callable[[Target], Awaitable[None]]

ATTACKS: Final[dict[str, Attack]] = {
    attack.__name__: attack
    for attack in (
        websocket.websocket_pings, websocket.websocket_pings_of_a_device, websocket.websocket_fragments,
        websocket.half_upgrades, websocket.mute_devices,
        http.pipelined_metrics, http.pipelined_pages, http.pipelined_ota, http.ota_flood, http.silent_http,
        http.silent_http_everywhere, http.half_requests, http.slow_heads, http.large_heads, http.two_lengths,
        mqtt.silent_mqtt, mqtt.silent_mqtt_everywhere, mqtt.guesses, websocket.guesses_over_websocket,
        account.reconnects, account.slots, mqtt.slots_everywhere, mqtt.subscriptions,
        account.subscriptions_of_a_device, mqtt.publishes, mqtt.retained, account.kept_sessions,
        mqtt5.properties, mqtt5.shared_groups,
        account.hellos, account.turns, account.registrations, audio.datagrams, audio.reflection,
        audio.speeches,
    )
}  # fmt: skip
