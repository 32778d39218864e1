"""Shares of one device: uplink audio, turns, and audio that waits for speech to text."""

from contextlib import ExitStack

import pytest

from mimi_mqtt.config.connections import SharesSettings
from mimi_mqtt.errors import ProviderUnavailable
from mimi_mqtt.shares import Ledger
from mimi_mqtt.voice.device_shares import MAX_UNHEARD_S, UPLINK_BURST_S, DeviceShares

FRAME_S = 0.06


def shares(ledger: Ledger | None = None, **bounds: float) -> DeviceShares:
    return DeviceShares(SharesSettings.model_validate(bounds), ledger)


def test_audio_is_taken_at_one_and_a_half_times_real_time() -> None:
    ledger = Ledger()
    mine = shares(ledger)
    sent = [number / 200 for number in range(200 * 60)]  # 200 packets a second for a minute
    taken = sum(mine.take_audio("flood", FRAME_S, now) for now in sent) * FRAME_S
    assert taken == pytest.approx(60 * 1.5 + UPLINK_BURST_S, abs=0.5)
    assert "audio faster than it is spoken" in ledger.summary()
    assert mine.take_audio("other", FRAME_S, 60.0)


def test_a_device_that_sends_what_it_held_during_a_stall_loses_nothing() -> None:
    mine = shares()
    now = 0.0
    for _ in range(5):
        assert all(mine.take_audio("device", FRAME_S, now + number * FRAME_S) for number in range(200))
        now += 200 * FRAME_S + 4.5  # the network stands still, then everything comes at once
        assert all(mine.take_audio("device", FRAME_S, now) for _ in range(75))


def test_a_new_session_brings_no_new_burst() -> None:
    mine = shares()
    while mine.take_audio("device", FRAME_S, 0.0):
        pass
    assert not mine.take_audio("device", FRAME_S, 0.01)


def test_turns_of_one_device_are_bounded() -> None:
    ledger = Ledger()
    mine = shares(ledger, turns_per_minute=60)
    begun = sum(mine.take_turn("storm", number / 50) for number in range(50 * 60))
    assert 115 <= begun <= 121
    assert "turns: " in ledger.summary()
    assert mine.take_turn("other", 60.0)


def test_a_device_is_not_told_every_time() -> None:
    mine = shares()
    assert sum(mine.may_be_told("device", number / 50) for number in range(50 * 60)) <= 3


def test_audio_of_one_device_that_waits_is_bounded() -> None:
    ledger = Ledger()
    mine = shares(ledger, unheard_audio_s=60)
    with ExitStack() as waiting:
        for _ in range(2):
            waiting.enter_context(mine.unheard("device", 28.0, 0.0))
        with pytest.raises(ProviderUnavailable), mine.unheard("device", 28.0, 0.0):
            pass
        waiting.enter_context(mine.unheard("other", 28.0, 0.0))
    assert "speech that waits" in ledger.summary()
    with mine.unheard("device", 28.0, 0.0):
        pass


def test_one_utterance_is_never_too_long_alone() -> None:
    mine = shares(unheard_audio_s=5)
    with mine.unheard("device", 28.0, 0.0):
        pass


def test_when_all_together_have_too_much_a_short_question_still_gets_in() -> None:
    mine = shares()
    with ExitStack() as waiting:
        for number in range(int(MAX_UNHEARD_S // 30)):
            waiting.enter_context(mine.unheard(f"device {number}", 30.0, 0.0))
        with pytest.raises(ProviderUnavailable), mine.unheard("late", 29.0, 0.0):
            pass
        waiting.enter_context(mine.unheard("short", 2.0, 0.0))
