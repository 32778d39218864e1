"""System prompts: Jinja2 templates, checked and compiled once, rendered for each answer.

The owner writes the template, everybody else only fills it: a device's name is never read as one. A template
is sandboxed, an unknown variable is an error at start, and what it costs is bounded (`prompt_sandbox`).
"""

import dataclasses
import logging
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from mimi_mqtt.config.prompt_sandbox import budget, environment, instrument

if TYPE_CHECKING:
    from jinja2 import nodes

_log = logging.getLogger(__name__)

MAX_PROMPT_CHARS: Final = 16_000
"""Longest prompt that is rendered; a template that makes a longer one is refused at start, and a prompt that
grows beyond later is cut."""
MAX_MEMORY_CHARS: Final = 2_000
"""Longest `memory`."""
MAX_TEMPLATE_CHARS: Final = 32_000
"""Longest template."""

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
    """The emotion in the last words, such as `angry`, where the recogniser tells; empty for neutral."""


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


class TemplateFault(ValueError):
    """A fault of a template, with the way to mend it. `line` counts from 1; None where it is not known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class PromptTemplate:
    """A template that was tried. Raises TemplateFault."""

    def __init__(self, source: str) -> None:
        from jinja2 import TemplateError, TemplateSyntaxError, meta

        if len(source) > MAX_TEMPLATE_CHARS:
            raise TemplateFault(f"the template is longer than {MAX_TEMPLATE_CHARS} characters")
        try:
            with budget():  # what is constant is computed now
                tree = environment().parse(source)
                used = meta.find_undeclared_variables(tree)
                _check(tree, used)
                instrument(tree)
                self._template = environment().from_string(tree)
        except TemplateSyntaxError as error:
            raise TemplateFault(
                f"line {error.lineno} of the template: {error.message}", error.lineno
            ) from error
        except (RecursionError, SyntaxError, MemoryError):
            # Python's own compiler has bounds, too, such as 20 loops inside each other.
            raise TemplateFault("the template is nested too deeply") from None
        self.uses_memory = "memory" in used
        """True for a template that contains earlier conversations."""
        self._failed = False
        for facts in (_NOBODY, _EVERYTHING, dataclasses.replace(_EVERYTHING, speech=True)):
            try:
                text = self._fill(facts)
            except _FAILURES as error:
                raise TemplateFault(f"the template can't be filled in: {error}", _line_of(error)) from error
            except TemplateError as error:
                told = f"the template can't be filled in: {error.message}"
                raise TemplateFault(told, _line_of(error)) from error
            if len(text) > MAX_PROMPT_CHARS:
                raise TemplateFault(f"the template makes a prompt of over {MAX_PROMPT_CHARS} characters")

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
        with budget():
            for piece in self._template.generate(facts.variables()):
                text += piece
                if len(text) > MAX_PROMPT_CHARS:
                    break
        return text


_FAILURES: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
"""Exceptions that an expression of a template may raise beside Jinja2's own."""


def _line_of(error: BaseException) -> int | None:
    """The line of the template in which an error was raised: Jinja2 puts it in the traceback."""
    lines = [
        number
        for frame, number in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename == "<template>"
    ]
    return lines[-1] if lines else None


def _check(tree: "nodes.Template", used: set[str]) -> None:
    """Raises TemplateFault for what no fact has and for what a prompt does not need."""
    from jinja2 import nodes

    known = _NOBODY.variables()
    if unknown := sorted(used - known.keys()):
        lines = [name.lineno for name in tree.find_all(nodes.Name) if name.name == unknown[0]]
        told = f"there is no variable {unknown[0]!r}; there are {', '.join(sorted(known))}"
        raise TemplateFault(told, min(lines, default=None))
    unneeded = (nodes.Macro, nodes.CallBlock, nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends,
                nodes.Block)  # fmt: skip
    if found := next(tree.find_all(unneeded), None):
        told = f"line {found.lineno} of the template: only if, for and set are possible"
        raise TemplateFault(told, found.lineno)
    if loop := next((loop for loop in tree.find_all(nodes.For) if loop.recursive), None):
        raise TemplateFault("a recursive loop is not possible", loop.lineno)
    for access in tree.find_all(nodes.Getattr):
        if not isinstance(access.node, nodes.Name) or access.node.name not in used:
            continue
        fact = known[access.node.name]
        if dataclasses.is_dataclass(fact):
            names = [field.name for field in dataclasses.fields(fact)]
            if access.attr not in names:
                told = f"{access.node.name} has no {access.attr!r}; it has {', '.join(names)}"
                raise TemplateFault(told, access.lineno)
