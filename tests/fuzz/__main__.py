"""Fuzzes the parsers of bytes from outside with atheris: `scripts/fuzz TARGET`, or `all`, as every night.

The exit code is 1 when an invariant was broken; the input that broke it is saved, and its path printed. An
input takes at most 10 s and the process at most 1 GiB; more is a finding too.
"""

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import registry
from tests.fuzz.target import Target

INPUT_TIMEOUT_S = 10
MEMORY_MIB = 1_024
_START_S = 120  # imports under instrumentation, on a busy machine
_SHOWN_LINES = 30

_RAN = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_NOISE = re.compile(r"^(INFO|#\d|\s*NEW_FUNC|MS:|0x|stat::)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a target's run ended: the inputs tried, the input that broke an invariant, and what was said."""

    inputs: int
    crash: Path | None
    said: str
    exit_code: int

    @property
    def ok(self) -> bool:
        """True when the time ran out without a finding."""
        return self.exit_code == 0 and self.crash is None


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", nargs="*", metavar="TARGET", help="names of --list, or all")
    parser.add_argument("--list", action="store_true", help="print the targets")
    parser.add_argument("--seconds", type=int, default=30, help="time for each target (default 30)")
    parser.add_argument(
        "--corpus",
        type=Path,
        metavar="DIR",
        help="keep interesting inputs there (default: a temporary folder)",
    )
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="run TARGET on this input alone, without atheris"
    )
    args = parser.parse_args(arguments)
    unknown = [name for name in args.target if name != "all" and name not in registry.NAMES]
    if unknown:
        parser.error(f"there is no target {unknown[0]}: see --list")
    if not args.list and not args.target:
        parser.error("name a target, or all: see --list")
    if args.replay is not None and (len(args.target) != 1 or args.target == ["all"]):
        parser.error("--replay takes one target")
    if args.seconds < 1:
        parser.error("--seconds must be at least 1")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit code."""
    args = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    if args.list:
        for name in registry.NAMES:
            print(f"{name:24} {registry.find(name).summary}")
        return 0
    if args.replay is not None:
        return _replay(registry.find(args.target[0]), args.replay)
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: run scripts/fuzz, or pip install 'mimi-mqtt[fuzz]'", file=sys.stderr)
        return 2
    names = registry.NAMES if "all" in args.target else tuple(dict.fromkeys(args.target))
    folder = args.corpus or Path(tempfile.mkdtemp(prefix="mimi-fuzz-"))
    broken = [name for name in names if not _report(name, fuzz(registry.find(name), args.seconds, folder))]
    if args.corpus is None and not broken:
        shutil.rmtree(folder)
    if broken:
        print(f"{len(broken)} of {len(names)} targets have findings: {', '.join(broken)}")
    return 1 if broken else 0


def _replay(target: Target, file: Path) -> int:
    """Checks one input in this process, whose traceback is the report."""
    accepted = target.check(file.read_bytes())
    print(f"{target.name}: {'accepted' if accepted else 'refused'}, all invariants hold")
    return 0


def fuzz(target: Target, seconds: int, folder: Path) -> Outcome:
    """Fuzzes `target` in a process of its own; its inputs are kept in `folder`."""
    corpus, crashes = folder / target.name, folder / "crashes" / target.name
    for each in (corpus, crashes):
        each.mkdir(parents=True, exist_ok=True)
    before = set(crashes.iterdir())
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = folder / f"{target.name}.dict"
    tokens = target.tokens or (b"\0",)  # libFuzzer takes an empty dictionary for a mistake
    words.write_text("".join(f'"{_escaped(token)}"\n' for token in tokens), encoding="ascii")
    command = [
        sys.executable, "-m", "tests.fuzz.engine", target.name,
        f"-max_total_time={seconds}",
        f"-timeout={INPUT_TIMEOUT_S}",
        f"-rss_limit_mb={MEMORY_MIB}",
        f"-max_len={target.max_bytes}",
        f"-artifact_prefix={crashes}/",
        f"-dict={words}",
        "-print_final_stats=1",
        str(corpus),
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=seconds + _START_S, check=False
        )
        said, code = done.stderr + done.stdout, done.returncode  # atheris prints the traceback to stdout
    except subprocess.TimeoutExpired:
        said, code = f"did not end {_START_S} s after its time", 1
    ran = _RAN.search(said)
    found = sorted(set(crashes.iterdir()) - before)
    return Outcome(int(ran[1]) if ran else 0, found[0] if found else None, said, code)


def _escaped(token: bytes) -> str:
    """A token as a dictionary of libFuzzer has it."""
    return "".join(f"\\x{byte:02x}" for byte in token)


def _report(name: str, outcome: Outcome) -> bool:
    """Prints a line of the result, or what was found; true when nothing was."""
    if outcome.ok:
        print(f"ok    {name}: {outcome.inputs} inputs", flush=True)
        return True
    print(f"FOUND {name}: exit code {outcome.exit_code} after {outcome.inputs} inputs")
    told = [line for line in outcome.said.splitlines() if line.strip() and not _NOISE.match(line)]
    for line in told[-_SHOWN_LINES:]:
        print(f"      {line[:300]}")
    if outcome.crash is not None:
        print(f"      input: {outcome.crash}")
        print(f"      again: scripts/fuzz {name} --replay {outcome.crash}", flush=True)
    return False


if __name__ == "__main__":
    sys.exit(main())
