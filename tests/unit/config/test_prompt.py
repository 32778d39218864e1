"""Prompts: what a template may use, what it is told of mistakes, and what it can't cost."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mimi_mqtt.config.prompt import (
    DEFAULT_PROMPT,
    MAX_PROMPT_CHARS,
    AgentFacts,
    DeviceFacts,
    Facts,
    PromptTemplate,
    TemplateFault,
    UserFacts,
)
from mimi_mqtt.config.prompt_sandbox import MAX_LOOP_STEPS

FACTS = Facts(
    datetime(2026, 11, 21, 18, 5, tzinfo=UTC),
    "vi",
    DeviceFacts("aa-bb-cc-00-11-22", "Kitchen", "box", "de", "1.2.3"),
    UserFacts("Anna", "de"),
    AgentFacts("Chef"),
    "we spoke of tea",
)


def render(source: str, facts: Facts = FACTS) -> str:
    return PromptTemplate(source).render(facts)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("You are {{ agent.name }}.", "You are Chef."),
        ("{{ device.id }} {{ device.name }} {{ device.board }}", "aa-bb-cc-00-11-22 Kitchen box"),
        ("{{ device.language }} {{ device.firmware_version }}", "de 1.2.3"),
        ("{{ user.name }} {{ user.language }} {{ language }}", "Anna de vi"),
        ("{{ weekday }}, {{ date }}", "Saturday, 21 November 2026"),
        ("{{ time.strftime('%H:%M') }} {{ time.hour }}", "18:05 18"),
        ("{% if memory %}Before: {{ memory }}{% endif %}", "Before: we spoke of tea"),
        ("{% for word in ['a', 'b'] %}{{ word|upper }}{% endfor %}", "AB"),
        ("{% set name = user.name or 'you' %}{{ name }}", "Anna"),
        ("{{ 'evening' if time.hour >= 18 else 'day' }}", "evening"),
        ("no template at all, 100 % plain", "no template at all, 100 % plain"),
    ],
)
def test_a_prompt_tells_what_is_known(source: str, expected: str) -> None:
    assert render(source) == expected


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("a\nb {{ nobody }}", 2),
        ("a\n\n{{ device.colour }}", 3),
        ("a\n{% if memory %}b", 2),
        ("{{ agent.name }}\n{{ memory + 1 }}", 2),
        ("a\n{% include 'b' %}", 2),
        ("a\n\n{% for x in [] recursive %}{% endfor %}", 3),
        ("x" * 40_000, None),
    ],
)
def test_a_fault_of_a_template_is_told_with_its_line(source: str, line: int | None) -> None:
    with pytest.raises(TemplateFault) as raised:
        PromptTemplate(source)
    assert raised.value.line == line


def test_the_default_prompt_leaves_out_what_is_unknown() -> None:
    told = render(DEFAULT_PROMPT)
    assert told.startswith("You are Chef,")
    assert "named Kitchen" in told
    assert "talking to Anna" in told
    assert "(vi)" in told
    assert told.endswith("It is Saturday, 21 November 2026, 18:05.")
    nobody = render(DEFAULT_PROMPT, Facts(FACTS.now))
    assert "named" not in nobody
    assert "talking to" not in nobody
    assert "sounds" not in nobody
    angry = replace(FACTS, user=replace(FACTS.user, emotion="angry"))
    assert "The user sounds angry. " in render(DEFAULT_PROMPT, angry)


def test_a_model_that_speaks_itself_is_asked_for_no_emoji_and_told_no_minute() -> None:
    earlier = replace(FACTS, speech=True)
    told = render(DEFAULT_PROMPT, earlier)
    assert "emoji" in render(DEFAULT_PROMPT)
    assert "emoji" not in told
    assert told == render(DEFAULT_PROMPT, replace(earlier, now=FACTS.now.replace(hour=3, minute=7)))


def test_what_fills_a_prompt_is_never_read_as_a_template() -> None:
    facts = Facts(FACTS.now, device=DeviceFacts(name="{{ agent.name }}{% if %}"))
    assert render("{{ device.name }}", facts) == "{{ agent.name }}{% if %}"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ oven }}", "there is no variable 'oven'; there are agent, date, device"),
        ("{% if memory == 'x' %}{{ oven }}{% endif %}", "no variable 'oven'"),
        ("{{ device.nam }}", "device has no 'nam'; it has id, name"),
        ("{% if memory == 'x' %}{{ user.age }}{% endif %}", "user has no 'age'"),
        ("{{ user['age'] }}", "can't be filled in"),
        ("{{ time.century }}", "can't be filled in"),
        ("{{ time.strftime(3) }}", "can't be filled in"),
        ("{{ 1 / 0 }}", "can't be filled in: division by zero"),
        ("fine\n{{ 1", "line 2 of the template"),
        ("{{ 'x' | shout }}", "No filter named 'shout'"),
    ],
)
def test_a_mistake_is_told_before_anybody_asks(source: str, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        PromptTemplate(source)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ device.__init__ }}",
        "{{ time.__reduce__() }}",
        "{% for a in memory %}{% for b in memory %}{% endfor %}{% endfor %}",
        "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% include 'x' %}",
        "{% extends 'x' %}",
        "{% import 'x' as x %}",
        "{{ range(100000) | join }}",
        "{{ lipsum(n=100) }}",
        "{{ 'x' * 100000000 }}",
        "{{ '%99999999d' % 1 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ 'x'.center(99999999) }}",
        "{{ '{:>99999999}'.format(1) }}",
        "{{ 'x' | center(99999999) }}",
        "{{ _steps }}",
        "{{ '" + "x" * MAX_PROMPT_CHARS + "y' }}",
    ],
)
def test_a_template_reaches_nothing_else_and_costs_little(source: str) -> None:
    with pytest.raises(ValueError, match=r"template|variable|loop|it has"):
        PromptTemplate(source)


def test_loops_have_so_many_steps_in_each_rendering() -> None:
    numbers = list(range(MAX_LOOP_STEPS))
    template = PromptTemplate("{% for n in " + str(numbers) + " %}{% endfor %}done")
    assert [template.render(FACTS) for _ in range(2)] == ["done", "done"]
    with pytest.raises(ValueError, match="over 1000 steps"):
        PromptTemplate("{% for n in " + str([*numbers, 1]) + " %}{% endfor %}done")


def test_a_prompt_that_grows_too_long_is_cut() -> None:
    template = PromptTemplate("{{ memory }}")
    assert len(template.render(Facts(FACTS.now, memory="m" * 99_999))) == MAX_PROMPT_CHARS


def test_a_template_that_fails_after_all_does_not_cost_the_answer() -> None:
    template = PromptTemplate("{% if language == 'tlh' %}{{ 1 / 0 }}{% endif %}nuqneH")
    assert template.render(FACTS) == "nuqneH"
    plain = template.render(Facts(FACTS.now, "tlh"))
    assert plain
    assert plain == template.render(Facts(FACTS.now, "tlh"))
    assert "nuqneH" not in plain


@pytest.mark.parametrize(("source", "uses"), [("{{ memory }}", True), ("{{ date }} memory", False)])
def test_it_is_known_who_uses_memory(source: str, uses: bool) -> None:
    assert PromptTemplate(source).uses_memory is uses
