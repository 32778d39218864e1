"""What is counted, and how it is exported."""

import logging

import pytest
from prometheus_client import REGISTRY

from mimi_mqtt.transports.mqtt.counters import Counters


def test_totals_are_exported_by_reason() -> None:
    counters = Counters(lambda: 0.0)
    before = REGISTRY.get_sample_value("mimi_mqtt_connects_refused_total", {"reason": "test"}) or 0
    counters.refuse("test", "127.0.0.1")
    counters.limit("test", "a limit")
    counters.accepted["device"] += 1
    counters.connected["test role"] += 2
    counters.bytes_in += 5
    after = REGISTRY.get_sample_value("mimi_mqtt_connects_refused_total", {"reason": "test"})
    assert after == before + 1
    assert REGISTRY.get_sample_value("mimi_mqtt_limits_total", {"limit": "test"}) == 1
    assert REGISTRY.get_sample_value("mimi_mqtt_connections", {"role": "test role"}) == 2
    assert (REGISTRY.get_sample_value("mimi_mqtt_bytes_total", {"direction": "in"}) or 0) >= 5


def test_a_limit_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    counters = Counters(lambda: now)
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            counters.limit("rate", "too fast")
        assert len(caplog.records) == 1
        now = 61.0
        counters.limit("rate", "too fast")
        assert len(caplog.records) == 2
    assert counters.limits["rate"] == 1001
