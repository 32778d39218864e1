"""System prompts: Jinja2 templates, checked and compiled once, rendered for each answer.

The owner writes the template, everybody else only fills it: a device's name is never read as one. A template
is sandboxed, an unknown variable is an error at start, and what it costs is bounded: loops by their steps,
the text by its length.
"""

import dataclasses
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.sandbox import SandboxedEnvironment

_log = logging.getLogger(__name__)

MAX_PROMPT_CHARS: Final = 16_000
"""Longest prompt that is rendered; a template that makes a longer one is refused at start, and a prompt that
grows beyond later is cut."""
MAX_MEMORY_CHARS: Final = 2_000
"""Longest `memory`."""
MAX_LOOP_STEPS: Final = 1_000
"""Steps of all loops in one rendering."""

DEFAULT_PROMPT: Final = (
    "You are {{ agent.name }}, a friendly voice assistant in a small device"
    "{% if device.name %} named {{ device.name }}{% endif %}. "
    "{% if user.name %}You are talking to {{ user.name }}. {% endif %}"
    "{% if user.emotion %}The user sounds {{ user.emotion }}. {% endif %}"
    "Answer in the user's language ({{ language }}), in one to three short spoken sentences, without lists, "
    "markup or links. {% if not speech %}Begin with one emoji that shows your mood. {% endif %}"
    "Use the tools when the user wants something done. "
    "It is {{ weekday }}, {{ date }}{% if not speech %}, {{ time.strftime('%H:%M') }}{% endif %}."
)

_LAST_RESORT: Final = (
    "You are a friendly voice assistant in a small device. Answer in the user's language, in one to three "
    "short spoken sentences, without lists, markup or links. Use the tools to do what the user wants."
)
"""The prompt in place of a template that fails after all, so that the turn goes on."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """`device` in a prompt; each is "" when unknown."""

    id: str = ""
    name: str = ""
    board: str = ""
    language: str = ""
    """The language set for the device, else the one that it asked for."""
    firmware_version: str = ""


@dataclass(frozen=True, slots=True)
class UserFacts:
    """`user` in a prompt: the person who talks to the device."""

    name: str = ""
    language: str = ""
    emotion: str = ""
    """How the last words sounded, such as `angry`, where the recogniser tells; empty for neutral."""


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """`agent` in a prompt."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that a prompt may tell. `now` is aware, in the time zone of people."""

    now: datetime
    language: str = "en"
    """The language of the answer."""
    device: DeviceFacts = DeviceFacts()
    user: UserFacts = UserFacts()
    agent: AgentFacts = AgentFacts()
    memory: str = ""
    """The last turns of earlier conversations."""
    speech: bool = False
    """True when the model speaks itself, speech to speech: an emoji would be read out, and a prompt that
    changes with the minute costs the service what it has cached."""

    def variables(self) -> dict[str, object]:
        """The facts by the names that templates use."""
        return {
            "agent": self.agent,
            "device": self.device,
            "user": self.user,
            "language": self.language,
            "memory": self.memory,
            "speech": self.speech,
            "time": self.now,
            "date": f"{self.now.day} {self.now:%B %Y}",
            "weekday": f"{self.now:%A}",
        }


_NOBODY: Final = Facts(datetime(2026, 1, 1, tzinfo=UTC))
_EVERYTHING: Final = Facts(
    datetime(2026, 12, 30, 23, 59, 59, tzinfo=UTC),
    "zh-Hant-TW",
    DeviceFacts("aa-bb-cc-dd-ee-ff", "n" * 64, "b" * 64, "zh-Hant-TW", "v" * 64),
    UserFacts("n" * 64, "zh-Hant-TW", "surprised"),
    AgentFacts("n" * 64),
    "m " * (MAX_MEMORY_CHARS // 2),
)


class PromptTemplate:
    """A template that was tried. Raises ValueError with what is wrong and how to mend it."""

    def __init__(self, source: str) -> None:
        from jinja2 import TemplateError, TemplateSyntaxError, meta

        environment = _environment()
        try:
            tree = environment.parse(source)
            used = meta.find_undeclared_variables(tree)
            _check(tree, used)
            _count_loops(tree)
            self._template = environment.from_string(tree)
        except TemplateSyntaxError as error:
            raise ValueError(f"line {error.lineno} of the template: {error.message}") from error
        self.uses_memory = "memory" in used
        """True for a template that contains earlier conversations."""
        self._failed = False
        for facts in (_NOBODY, _EVERYTHING, dataclasses.replace(_EVERYTHING, speech=True)):
            try:
                text = self._fill(facts)
            except _FAILURES as error:
                raise ValueError(f"the template can't be filled in: {error}") from error
            except TemplateError as error:
                raise ValueError(f"the template can't be filled in: {error.message}") from error
            if len(text) > MAX_PROMPT_CHARS:
                raise ValueError(f"the template makes a prompt of over {MAX_PROMPT_CHARS} characters")

    def render(self, facts: Facts) -> str:
        """The prompt, of bounded length; a plain one when this template fails after all, told once."""
        from jinja2 import TemplateError

        try:
            return self._fill(facts)[:MAX_PROMPT_CHARS].strip()
        except (TemplateError, *_FAILURES) as error:
            if not self._failed:
                self._failed = True
                _log.warning("a prompt can't be filled in, a plain one takes its place: %s", error)
            return _LAST_RESORT

    def _fill(self, facts: Facts) -> str:
        """The rendered text, cut a little after the limit."""
        text = ""
        for piece in self._template.generate(facts.variables() | {_STEPS: _Steps()}):
            text += piece
            if len(text) > MAX_PROMPT_CHARS:
                break
        return text


_FAILURES: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Exceptions that an expression of a template may raise beside Jinja2's own."""

_STEPS: Final = "_steps"  # not a name that a template may use


class _Steps:
    """The steps that the loops of one rendering have taken."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_LOOP_STEPS

    def over(self, values: Iterable[object]) -> Iterator[object]:
        """`values`, as long as steps are left."""
        for value in values:
            self.left -= 1
            if self.left < 0:
                raise ValueError(f"its loops take over {MAX_LOOP_STEPS} steps")
            yield value


@cache
def _environment() -> "SandboxedEnvironment":
    # Importing Jinja2 takes longer than most commands.
    from jinja2 import StrictUndefined, pass_context
    from jinja2.exceptions import SecurityError
    from jinja2.runtime import Context
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        """Refuses what makes long texts out of short ones."""

        intercepted_binops = frozenset({"*", "**", "%"})

        def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
            small = (int, float) if operator != "**" else ()
            if not (isinstance(left, small) and isinstance(right, small)):
                raise SecurityError(f"{operator} is for numbers" if small else f"{operator} is not possible")
            return super().call_binop(context, operator, left, right)

        def is_safe_attribute(self, obj: object, attr: str, value: object) -> bool:
            return attr not in _WIDENING and super().is_safe_attribute(obj, attr, value)

    @pass_context
    def counted(context: Context, values: Iterable[object]) -> Iterator[object]:
        steps = context[_STEPS]
        if not isinstance(steps, _Steps):
            raise TypeError(f"{_STEPS} is not a variable")
        return steps.over(values)

    environment = Environment(undefined=StrictUndefined, autoescape=False)
    environment.globals.clear()
    for name in _WIDENING:
        environment.filters.pop(name, None)
    environment.filters[_STEPS] = counted
    return environment


_WIDENING: Final = frozenset(
    {
        "center",
        "expandtabs",
        "format",
        "format_map",
        "indent",
        "ljust",
        "rjust",
        "tojson",
        "wordwrap",
        "zfill",
    }
)


def _check(tree: "nodes.Template", used: set[str]) -> None:
    """Raises ValueError for what no fact has and for what a prompt does not need."""
    from jinja2 import nodes

    known = _NOBODY.variables()
    if unknown := sorted(used - known.keys()):
        raise ValueError(f"there is no variable {unknown[0]!r}; there are {', '.join(sorted(known))}")
    unneeded = (nodes.Macro, nodes.CallBlock, nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends,
                nodes.Block)  # fmt: skip
    if found := next(tree.find_all(unneeded), None):
        raise ValueError(f"line {found.lineno} of the template: only if, for and set are possible")
    if any(loop.recursive for loop in tree.find_all(nodes.For)):
        raise ValueError("a recursive loop is not possible")
    for access in tree.find_all(nodes.Getattr):
        if not isinstance(access.node, nodes.Name) or access.node.name not in used:
            continue
        fact = known[access.node.name]
        if dataclasses.is_dataclass(fact):
            names = [field.name for field in dataclasses.fields(fact)]
            if access.attr not in names:
                raise ValueError(f"{access.node.name} has no {access.attr!r}; it has {', '.join(names)}")


def _count_loops(tree: "nodes.Template") -> None:
    from jinja2 import nodes

    for loop in tree.find_all(nodes.For):
        loop.iter = nodes.Filter(loop.iter, _STEPS, [], [], None, None, lineno=loop.lineno)
