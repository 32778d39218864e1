"""Decisions of roll-outs: who is offered an image, why not, what came of it, and when it halts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mimi_mqtt.fleet.firmware.rollout import (
    DeviceFacts,
    ImageFacts,
    Kind,
    Outcome,
    Progress,
    RollOutFacts,
    State,
    Taker,
    Tally,
    order,
    outcome,
    position,
    refusal,
    why_halt,
)

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LONG_AGO = NOW - timedelta(days=9)
IMAGE = ImageFacts(1, "bread-compact-wifi", "", "2.3.1", "esp32s3", 3_000_000)
ROLL_OUT = RollOutFacts(7, IMAGE)
DEVICE = DeviceFacts("aa-bb-cc-00-11-22", "bread-compact-wifi", "bread", "2.2.1", "esp32s3", 4_000_000)


def test_a_device_that_all_fits_is_offered_the_image() -> None:
    assert refusal(ROLL_OUT, DEVICE, NOW) == ""


@pytest.mark.parametrize(
    ("of_rollout", "of_device", "reason"),
    [
        ({}, {"board": "lichuang-dev"}, "no image for this board"),
        ({"image": replace(IMAGE, board_name="other")}, {}, "no image for this board"),
        ({"state": State.PAUSED}, {}, "the roll-out is paused"),
        ({"state": State.HALTED}, {}, "the roll-out halted: devices did not come back"),
        ({"state": State.ENDED}, {}, "the roll-out is ended"),
        ({"starts_at": NOW + MINUTE}, {}, "the roll-out starts at 2026-08-01 12:01 UTC"),
        ({"ends_at": NOW}, {}, "the roll-out ended at 2026-08-01 12:00 UTC"),
        ({"devices": frozenset({"x"})}, {}, "not among the devices of the roll-out"),
        ({"owners": frozenset({"u"})}, {}, "its owner is not among those of the roll-out"),
        ({"groups": frozenset({"g"})}, {}, "its group is not among those of the roll-out"),
        ({"channel": "beta"}, {}, "on channel stable, not beta"),
        ({"percent": 0}, {}, "not in the first 0 %"),
        ({}, {"chip": "esp32"}, "chip esp32 but image is for esp32s3"),
        ({}, {"chip": ""}, "it does not tell its chip, and the image is for esp32s3"),
        ({}, {"slot_bytes": 2_999_999}, "does not fit the partition of 2,999,999 bytes"),
        ({}, {"slot_bytes": 0}, "it has no second partition to update to"),
        ({}, {"version": "2.3.1"}, "runs 2.3.1 already"),
        ({"force": True}, {"version": "2.3.1"}, "runs 2.3.1 already"),
        ({}, {"version": "2.4.0"}, "runs 2.4.0, newer than 2.3.1"),
        ({}, {"version": "beta"}, "its version 'beta' is not dotted numbers: it can't compare"),
        ({"force": True}, {"version": ""}, "its version '' is not dotted numbers: it can't compare"),
        ({}, {"auto_update": False}, "does not update by itself (auto_update is off)"),
    ],
)  # fmt: skip
def test_every_refusal_has_its_reason(
    of_rollout: dict[str, object], of_device: dict[str, object], reason: str
) -> None:
    rollout = replace(ROLL_OUT, **of_rollout)  # type: ignore[arg-type]
    assert refusal(rollout, replace(DEVICE, **of_device), NOW) == reason  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("of_rollout", "of_device"),
    [
        ({"force": True}, {"version": "2.4.0"}),
        ({"force": True}, {"auto_update": False}),
        ({"channel": "beta"}, {"channel": "beta"}),
        ({"channel": "stable"}, {"channel": "beta"}),
        ({"channel": "beta", "devices": frozenset({DEVICE.device_id})}, {}),
        ({"owners": frozenset({"u"}), "groups": frozenset({"g"})}, {"owner_id": "u", "group_id": "g"}),
        ({"image": replace(IMAGE, board_name="bread")}, {}),
        ({}, {"slot_bytes": None}),
        ({"starts_at": NOW, "ends_at": NOW + MINUTE}, {}),
    ],
)
def test_force_channels_lists_and_times_let_devices_in(
    of_rollout: dict[str, object], of_device: dict[str, object]
) -> None:
    rollout = replace(ROLL_OUT, **of_rollout)  # type: ignore[arg-type]
    assert refusal(rollout, replace(DEVICE, **of_device), NOW) == ""  # type: ignore[arg-type]


def test_percent_is_stable_even_and_other_for_each_roll_out() -> None:
    ids = [f"aa-bb-cc-00-{number >> 8:02x}-{number & 255:02x}" for number in range(4_000)]
    first = {each for each in ids if position(1, each) < 10}
    assert 320 < len(first) < 480
    assert first == {each for each in ids if position(1, each) < 10}
    assert first < {each for each in ids if position(1, each) < 20}
    assert len(first & {each for each in ids if position(2, each) < 10}) < 100


def test_roll_backs_come_first_then_forced_ones_then_newer_versions() -> None:
    older = replace(IMAGE, version="2.2.9")
    rollouts = [
        replace(ROLL_OUT, id=1), replace(ROLL_OUT, id=2, image=older),
        replace(ROLL_OUT, id=3, image=older, force=True),
        replace(ROLL_OUT, id=4, image=older, kind=Kind.ROLL_BACK, force=True), replace(ROLL_OUT, id=5),
    ]  # fmt: skip
    assert [each.id for each in order(rollouts)] == [4, 3, 5, 1, 2]


TAKER = Taker("d", Progress.DOWNLOADED, "2.2.1", NOW, "2.2.1", NOW - MINUTE, NOW - MINUTE, connects=True)


def judged(taker: Taker, after_min: float, watched_since: datetime = LONG_AGO) -> Outcome | None:
    return outcome(taker, "2.3.1", 15 * MINUTE, NOW + after_min * MINUTE, watched_since)


def test_a_device_that_runs_the_version_and_connected_is_done() -> None:
    back = replace(TAKER, reported_version="2.3.1", reported_at=NOW + MINUTE)
    assert judged(back, 2) is None
    assert judged(replace(back, connected_at=NOW + MINUTE), 2) == Outcome(Progress.DONE)
    assert judged(replace(back, connects=False), 2) == Outcome(Progress.DONE)


def test_a_device_that_came_back_with_another_version_has_failed() -> None:
    found = judged(replace(TAKER, reported_at=NOW + MINUTE), 2)
    assert found is not None
    assert found.progress is Progress.FAILED
    assert "2.2.1" in found.reason


def test_a_device_that_is_not_seen_in_time_is_gone_and_may_come_back_later() -> None:
    assert judged(TAKER, 14) is None
    found = judged(TAKER, 15)
    assert found is not None
    assert found.progress is Progress.GONE
    silent = replace(TAKER, reported_version="2.3.1", reported_at=NOW + MINUTE)
    found = judged(silent, 15)
    assert found is not None
    assert found.reason == "started 2.3.1, but did not connect"
    gone = replace(silent, progress=Progress.GONE)
    assert judged(gone, 60) is None
    assert judged(replace(gone, connected_at=NOW + 59 * MINUTE), 60) == Outcome(Progress.DONE)


def test_time_in_which_the_server_was_away_or_its_clock_was_set_does_not_count() -> None:
    assert judged(TAKER, 60, watched_since=NOW + 50 * MINUTE) is None
    assert judged(TAKER, 65, watched_since=NOW + 50 * MINUTE) is not None
    # The clock went back by an hour after the download.
    assert judged(TAKER, -60, watched_since=NOW - 60 * MINUTE) is None
    assert judged(TAKER, -40, watched_since=NOW - 60 * MINUTE) is not None


def test_a_download_that_has_not_ended_is_judged_by_the_version_alone() -> None:
    for progress in (Progress.OFFERED, Progress.DOWNLOADING):
        fetching = replace(TAKER, progress=progress, downloaded_at=None)
        assert judged(fetching, 999) is None
        assert judged(replace(fetching, reported_version="2.3.1"), 1) == Outcome(Progress.DONE)
    assert judged(replace(TAKER, progress=Progress.DONE), 999) is None


@pytest.mark.parametrize(
    ("tally", "halts"),
    [
        (Tally(), False), (Tally(gone=1), False), (Tally(gone=2), True), (Tally(failed=1, gone=1), True),
        (Tally(done=17, gone=2), True), (Tally(done=18, gone=2), False), (Tally(done=98, gone=2), False),
    ],
)  # fmt: skip
def test_a_roll_out_halts_when_too_many_did_not_come_back(tally: Tally, halts: bool) -> None:
    assert bool(why_halt(ROLL_OUT, tally)) is halts
    assert not why_halt(replace(ROLL_OUT, state=State.PAUSED), tally)


def test_it_halts_at_the_first_one_only_when_told_to() -> None:
    assert not why_halt(ROLL_OUT, Tally(gone=1))
    assert why_halt(replace(ROLL_OUT, halt_after=1), Tally(gone=1)) == (
        "1 of 1 devices that took 2.3.1 did not come back with it (1 not at all, 0 with another version)"
    )
