"""Runs one fuzz target under atheris in this process: `python -m tests.fuzz.engine TARGET FLAG…`.

The flags are libFuzzer's (https://llvm.org/docs/LibFuzzer.html). The process ends with 0 when its time is
over, with another code when an invariant was broken: the input is then in the folder of `-artifact_prefix`.
Imports what it tests only here, so that atheris can instrument it.
"""

import logging
import sys

import atheris

INSTRUMENTED = ["mimi_mqtt", "yaml", "tests.fuzz"]


def main() -> None:
    """Fuzzes the target that the command line names; does not return."""
    name, *flags = sys.argv[1:]
    logging.disable(logging.CRITICAL)  # what the server would log is no finding
    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz import registry

        target = registry.find(name)
    atheris.Setup([sys.argv[0], *flags], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
