"""Structure that the code claims for itself, held to the contracts that check it."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAYS_IT_IS_PURE = re.compile(r"[;.:] pure\b|\bPure[.:,]", re.IGNORECASE)


def modules() -> dict[str, Path]:
    """Every module of the package, by its dotted name."""
    files = (ROOT / "mimi_mqtt").rglob("*.py")
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for file in files
    }


def docstring(file: Path) -> str:
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""


def test_every_module_that_calls_itself_pure_is_in_the_contract_that_checks_it() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (pure,) = [each for each in contracts if each["name"] == "Pure modules do no I/O"]
    checked = tuple(pure["source_modules"])
    claiming = [name for name, file in modules().items() if SAYS_IT_IS_PURE.search(docstring(file))]
    assert len(claiming) > 20
    unchecked = [
        name for name in claiming if not any(name == each or name.startswith(each + ".") for each in checked)
    ]
    assert unchecked == []


def test_every_package_opens_with_its_purpose() -> None:
    packages = [file for file in modules().values() if file.name == "__init__.py"]
    assert [str(file.relative_to(ROOT)) for file in packages if len(docstring(file)) < 20] == []
