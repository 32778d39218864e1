"""Notices that wait: their order and their bounds."""

from datetime import UTC, datetime, timedelta

import pytest

from mimi_mqtt.commands import waiting
from mimi_mqtt.commands.waiting import (
    MAX_PER_DEVICE,
    TOLD_WITHIN,
    Notice,
    NoticeState,
    TooManyNotices,
    WaitingList,
)

NOW = datetime(2026, 8, 1, tzinfo=UTC)
FIRST, SECOND = "aa-bb-cc-00-11-22", "aa-bb-cc-00-11-33"


def notice(text: str, seconds: float = 0, *, device: str = FIRST, urgent: bool = False) -> Notice:
    at = NOW + timedelta(seconds=seconds)
    return Notice(f"{device}{text}", device, text, at, at + timedelta(minutes=1), urgent)


def test_urgent_ones_come_first_then_the_oldest() -> None:
    waiting_list = WaitingList()
    for each in (notice("b", 2), notice("d", 4, urgent=True), notice("a", 1), notice("c", 3, urgent=True)):
        waiting_list.add(each)
    assert [each.text for each in waiting_list.of(FIRST)] == ["c", "d", "a", "b"]
    assert waiting_list.of(SECOND) == ()


def test_a_device_has_its_bound_and_all_together_have_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_IN_ALL", MAX_PER_DEVICE + 1)
    waiting_list = WaitingList()
    for number in range(MAX_PER_DEVICE):
        waiting_list.add(notice(str(number)))
    with pytest.raises(TooManyNotices, match=FIRST):
        waiting_list.add(notice("more"))
    waiting_list.add(notice("a", device=SECOND))
    with pytest.raises(TooManyNotices, match="all devices"):
        waiting_list.add(notice("b", device=SECOND))
    assert waiting_list.remove(waiting_list.of(FIRST)[0])
    waiting_list.add(notice("b", device=SECOND))
    assert len(waiting_list) == len([*waiting_list]) == MAX_PER_DEVICE + 1


def test_what_waits_expires_and_what_is_being_told_some_time_later() -> None:
    waiting_list = WaitingList()
    first, second = notice("a"), notice("b")
    second.state = NoticeState.NOTIFYING
    for each in (first, second):
        waiting_list.add(each)
    assert waiting_list.expired(NOW + timedelta(seconds=59)) == []
    assert waiting_list.expired(NOW + timedelta(seconds=60)) == [first]
    assert waiting_list.expired(NOW + timedelta(seconds=60) + TOLD_WITHIN) == [first, second]


def test_what_is_not_in_is_not_removed() -> None:
    waiting_list = WaitingList()
    waiting_list.add(notice("a"))
    assert not waiting_list.remove(notice("a"))
    assert not waiting_list.remove(notice("a", device=SECOND))
    assert len(waiting_list) == 1


def test_a_row_and_back_is_the_same_notice() -> None:
    before = notice("a", urgent=True)
    before.tries, before.shown = 1, True
    after = Notice.of(before.row, None)
    assert after.row == before.row
    assert "a" not in repr(before).replace("aa-bb-cc-00-11-22a", "").partition("text")[2]
