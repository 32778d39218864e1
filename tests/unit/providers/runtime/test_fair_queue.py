"""Fair order of waiting work: by device, short work first, nobody left behind."""

from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.providers.runtime.fair_queue import FairQueue


def all_of(queue: FairQueue[str]) -> list[str]:
    items = []
    while (item := queue.pop()) is not None:
        items.append(item)
    return items


def test_short_work_goes_first() -> None:
    queue: FairQueue[str] = FairQueue()
    for holder, cost in (("a", 9.0), ("b", 2.0), ("c", 5.0)):
        queue.add(holder, holder, cost)
    assert all_of(queue) == ["b", "c", "a"]


def test_one_holder_with_much_work_gets_no_more_than_another() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(5):
        queue.add("many", f"many {number}", 1.0)
    for number in range(2):
        queue.add("few", f"few {number}", 1.0)
    assert all_of(queue) == ["many 0", "few 0", "many 1", "few 1", "many 2", "many 3", "many 4"]


def test_long_work_is_done_although_short_work_of_newcomers_keeps_coming() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.add("long", "long", 10.0)
    for number in range(100):
        queue.add(f"new {number}", f"new {number}", 1.0)
        if queue.pop() == "long":
            break
    else:
        raise AssertionError("the long work never came")
    assert 10 <= number <= 25


def test_coming_back_earns_no_second_share() -> None:
    queue: FairQueue[str] = FairQueue()
    for holder in "abc":
        queue.add(holder, holder, 6.0)
    first = queue.pop()
    assert first is not None
    queue.add(first, first, 6.0)  # the next piece of the same
    assert [queue.pop(), queue.pop()] == [other for other in "abc" if other != first]


def test_what_is_removed_costs_its_holder_nothing() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.add("a", "dropped", 50.0)
    queue.add("a", "kept", 1.0)
    queue.add("b", "other", 2.0)
    assert queue.remove("dropped")
    assert not queue.remove("dropped")
    assert all_of(queue) == ["kept", "other"]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0.0, 100.0), st.booleans()), max_size=60))
def test_nothing_is_lost_or_done_twice_and_each_holder_keeps_its_order(
    steps: list[tuple[str, float, bool]],
) -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    done: list[tuple[str, int]] = []
    for number, (holder, cost, pop) in enumerate(steps):
        queue.add(holder, (holder, number), cost)
        if pop:
            item = queue.pop()
            assert item is not None
            done.append(item)
    assert len(queue) == len(steps) - len(done)
    while (item := queue.pop()) is not None:
        done.append(item)
    assert sorted(number for _, number in done) == list(range(len(steps)))
    for holder in "abcd":
        own = [number for other, number in done if other == holder]
        assert own == sorted(own)


def test_what_is_picked_by_a_condition_is_the_next_that_fits() -> None:
    queue: FairQueue[str] = FairQueue()
    for holder, item, cost in (("a", "long", 9.0), ("b", "short", 5.0), ("c", "shorter", 2.0)):
        queue.add(holder, item, cost)
    queue.add("a", "short behind a long", 1.0)

    def short(item: str) -> bool:
        return item.startswith("short")

    assert queue.peek(short) == "shorter"
    assert [queue.pop(short), queue.pop(short), queue.pop(short)] == ["shorter", "short", None]
    assert len(queue) == 2
    assert queue.peek() == "long"
    assert all_of(queue) == ["long", "short behind a long"]


def test_long_work_is_done_although_short_work_is_picked_first_again_and_again() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.add("long", "long", 10.0)
    for number in range(100):
        queue.add(f"new {number}", f"new {number}", 1.0)
        queue.add(f"newer {number}", f"newer {number}", 1.0)
        assert queue.pop(lambda item: item.startswith("new")) is not None
        if queue.pop() == "long":
            break
    else:
        raise AssertionError("the long work never came")
    assert number <= 25
