"""Templates that would make gigabytes, or take minutes, are refused; what a prompt needs goes on working."""

import pytest

from mimi_mqtt.config.prompt import MAX_TEMPLATE_CHARS, PromptTemplate


def doubled(start: str, step: str, times: int = 24) -> str:
    return "{% set a=" + start + " %}" + f"{{% set a={step} %}}" * times


BOMBS = {
    "nested parentheses": "{{ " + "(" * 3_000 + "1" + ")" * 3_000 + " }}",
    "nested conditions": "{% if 1 %}" * 400 + "{% endif %}" * 400,
    "nested loops": "{% for a in 'x' %}" * 40 + "{% endfor %}" * 40,
    "a long template": "x" * (MAX_TEMPLATE_CHARS + 1),
    "a doubled text": doubled("'xxxxxxxx'", "a~a"),
    "a text and itself": doubled("'xxxxxxxx'", "a+a"),
    "a list and itself": doubled("['x']", "a+a"),
    "a list of lists": doubled("['x']", "[a,a]"),
    "a tuple of tuples": doubled("('x',)", "(a,a)"),
    "a mapping of mappings": doubled("{'x': 1}", "{'a': a, 'b': a}"),
    "a squared number": doubled("99999999", "a*a"),
    "a block": "{% set a %}xxxxxxxx{% endset %}" + "{% set a %}{{a}}{{a}}{% endset %}" * 24,
    "a filtered block": "{% filter upper %}" + "{{ '" + "x" * 200 + "' }}" * 100 + "{% endfilter %}" * 1
    + doubled("'xxxxxxxx'", "a~a"),
    "replacements": "{{ 'aaaaaaaaaa'" + "|replace('a','aaaaaaaaaa')" * 9 + " }}",
    "replacements by method": "{{ 'aaaaaaaaaa'" + ".replace('a','aaaaaaaaaa')" * 9 + " }}",
    "joined": doubled("'xxxxxxxx'", "[a,a]|join(a)"),
    "joined by method": doubled("'xxxxxxxx'", "a.join([a,a])"),
    "slices": "{{ []|slice(30000000)|list|length }}",
    "batches": "{{ [1]|batch(30000000,'x')|list|length }}",
    "quotations": "{{ '\\\\'" + "|pprint" * 22 + " }}",
    "lists as texts": "{{ 'ab'" + "|list|string" * 9 + "|length }}",
    "encodings": "{{ 'x'.encode()" + ".hex().encode()" * 22 + "|length }}",
    "bytes of a number": "{{ (1).to_bytes(1000000000, 'big')|length }}",
    "decimals": "{{ 1|round(1000000000, 'ceil') }}",
    "translations": "{{ 'aaaa'.translate({97: 'aaaaaaaaaa'}) }}",
    "mapped": "{{ ['aaaa']|map('batch', 30000000)|list|length }}",
    "an instrument by its name": "{{ 'x'|_made }}",
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_a_template_that_makes_too_much_is_refused(bomb: str) -> None:
    with pytest.raises(ValueError, match=r"template|filter"):
        PromptTemplate(bomb)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ ['a', 'b']|join(', ') }}", "a, b"),
        ("{{ 'a-b-a'|replace('a', 'c') }} {{ 'a-b'.replace('-', '+') }}", "c-b-c a+b"),
        ("{{ 2.345|round(1) }} {{ 2.1|round(0, 'ceil') }} {{ 7|round }}", "2.3 3.0 7.0"),
        ("{{ 'a' ~ 1 ~ 'b' }} {{ 'a' + 'b' }} {{ [1] + [2] }} {{ 1 + 2 * 3 }}", "a1b ab [1, 2] 7"),
        ("{% set a %}x{{ 1 }}{% endset %}{{ a|upper }}", "X1"),
        ("{% if weekday in ['Thursday', 'x'] %}yes{% endif %}", "yes"),
        ("{% for a, b in [(1, 2), (3, 4)] %}{{ a * b }} {% endfor %}", "2 12 "),
        ("{{ ', '.join(['a', 'b']) }}{{ 'ab'|list|length }}{{ {'a': 1}['a'] }}", "a, b21"),
        ("{{ time.replace(hour=3).strftime('%H') }}", "03"),
        ("{{ ['b', 'a']|sort|first|default('x') }}{{ [1, 2]|sum }}{{ 'x'|e }}", "a3x"),
    ],
)
def test_what_a_prompt_needs_works(template: str, text: str) -> None:
    from datetime import UTC, datetime

    from mimi_mqtt.config.prompt import Facts

    assert PromptTemplate(template).render(Facts(datetime(2026, 1, 1, tzinfo=UTC))) == text.strip()
