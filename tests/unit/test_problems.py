"""The registry of problems: told once, over when they are over, and bounded."""

from datetime import UTC, datetime, timedelta

from mimi_mqtt.problems import Problem, Problems, Severity

NOW = datetime(2026, 11, 27, tzinfo=UTC)


def problem(
    id_: str, severity: Severity = Severity.WARNING, minutes: int = 0, cause: str = "cause"
) -> Problem:
    since = NOW + timedelta(minutes=minutes)
    return Problem(id=id_, severity=severity, cause=cause, cure="cure", since=since)


def test_a_problem_that_lasts_is_told_once_with_its_beginning() -> None:
    known = Problems()
    known.report(problem("disk"))
    known.report(problem("disk", Severity.ERROR, 5, "worse"))
    (told,) = known.current()
    assert (told.since, told.severity, told.cause) == (NOW, Severity.ERROR, "worse")
    known.resolve("disk")
    known.resolve("disk")
    assert known.current() == []


def test_what_a_check_finds_no_more_is_over() -> None:
    known = Problems()
    known.report(problem("reported"))
    known.found("udp", [problem("a"), problem("b")])
    known.found("tls", [problem("c")])
    known.found("udp", [problem("b", minutes=9)])
    assert [(each.id, each.since) for each in known.current()] == [
        ("b", NOW), ("c", NOW), ("reported", NOW),
    ]  # fmt: skip


def test_the_most_severe_comes_first_then_the_oldest() -> None:
    known = Problems()
    for id_, severity, minutes in (
        ("i", Severity.INFO, 0), ("w2", Severity.WARNING, 2), ("e", Severity.ERROR, 3),
        ("w1", Severity.WARNING, 1),
    ):  # fmt: skip
        known.report(problem(id_, severity, minutes))
    assert [each.id for each in known.current()] == ["e", "w1", "w2", "i"]


def test_problems_are_bounded_and_the_least_severe_go() -> None:
    known = Problems(most=2)
    for id_, severity in (
        ("i1", Severity.INFO),
        ("e1", Severity.ERROR),
        ("i2", Severity.INFO),
        ("e2", Severity.ERROR),
    ):
        known.report(problem(id_, severity))
    assert [each.id for each in known.current()] == ["e1", "e2"]
    assert (len(known), known.dropped) == (2, 2)
