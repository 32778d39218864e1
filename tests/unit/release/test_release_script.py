"""scripts/release in a small repository of its own: what it makes, and what it refuses."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

_MAKE = """\
import pathlib, sys
folder = pathlib.Path(__file__).parent / sys.argv[1]
folder.mkdir()
(folder / "made").write_text(pathlib.Path("mimi_mqtt/__init__.py").read_text())
"""

_FILES = {
    "CHANGELOG.md": (
        "# Changelog\n\n## Unreleased\n\n### Added\n\n- A thing.\n\n## 0.1.0 (2026-01-01)\n\n- Before.\n"
    ),
    "docs/upgrading.md": "# Upgrading\n\n## Unreleased\n\n- Do this.\n",
    "mimi_mqtt/__init__.py": '"""The package."""\n\n__version__ = "0.1.0"\n',
    ".ci/run": "#!/bin/sh\nexit 0\n",
    "tests/releases/make.py": _MAKE,
    "tests/releases/0.1.0/made": "",
}


class Repository:
    """A repository with a branch `main` that holds what the script touches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in _FILES.items():
            self.write(name, text)
        (folder / ".ci" / "run").chmod(0o755)
        (folder / "scripts").mkdir()
        shutil.copy(ROOT / "scripts" / "release", folder / "scripts" / "release")
        (folder / "venv" / "bin").mkdir(parents=True)
        (folder / "venv" / "bin" / "python").symlink_to(sys.executable)
        self.write(".gitignore", "venv/\n")
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit()

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Change")

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments, check=True).stdout

    def release(self, version: str) -> subprocess.CompletedProcess[str]:
        return self.run("scripts/release", version)

    def run(self, *command: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
        environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environ |= dict.fromkeys(names, "test@localhost") | {"MIMI_VENV": "venv", "HOME": str(self.folder)}
        return subprocess.run(
            command, cwd=self.folder, env=environ, capture_output=True, text=True, timeout=60, check=check
        )


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_a_release_sets_the_version_cuts_the_notes_and_tags(repository: Repository) -> None:
    done = repository.release("0.2.0")
    assert done.returncode == 0, done.stderr
    assert '__version__ = "0.2.0"' in repository.read("mimi_mqtt/__init__.py")
    changelog = repository.read("CHANGELOG.md")
    assert (
        changelog.index("## Unreleased\n\n## 0.2.0 (")
        < changelog.index("- A thing.")
        < changelog.index("## 0.1.0")
    )
    assert "## Unreleased\n\n## 0.2.0 (" in repository.read("docs/upgrading.md")
    assert '"0.2.0"' in repository.read("tests/releases/0.2.0/made")  # made by the code of the release
    assert repository.git("status", "--porcelain") == ""
    assert repository.git("log", "-1", "--format=%s").strip() == "Release 0.2.0"
    assert repository.git("rev-parse", "v0.2.0^{commit}") == repository.git("rev-parse", "HEAD")
    message = repository.git("tag", "--list", "--format=%(contents)", "v0.2.0")
    assert "### Added\n\n- A thing." in message
    assert "Before." not in message


def refused(repository: Repository, version: str, reason: str) -> None:
    before = repository.git("rev-parse", "HEAD")
    done = repository.release(version)
    assert done.returncode == 1
    assert reason in done.stderr
    assert repository.git("rev-parse", "HEAD") == before
    assert repository.git("tag") == ""
    assert '__version__ = "0.1.0"' in repository.read("mimi_mqtt/__init__.py")
    assert not (repository.folder / "tests" / "releases" / "0.2.0").exists()


def test_changes_that_are_not_committed_stop_a_release(repository: Repository) -> None:
    repository.write("new", "")
    refused(repository, "0.2.0", "not committed")


def test_a_failing_check_stops_a_release(repository: Repository) -> None:
    repository.write(".ci/run", "#!/bin/sh\nexit 1\n")
    repository.commit()
    refused(repository, "0.2.0", "checks or tests failed")


def test_a_data_folder_that_cannot_be_made_stops_a_release(repository: Repository) -> None:
    repository.write("tests/releases/make.py", _MAKE + "raise SystemExit('no data folder')\n")
    repository.commit()
    refused(repository, "0.2.0", "no data folder")
    assert repository.git("status", "--porcelain") == ""


def test_nothing_new_stops_a_release(repository: Repository) -> None:
    repository.write("CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n## 0.1.0 (2026-01-01)\n\n- Before.\n")
    repository.commit()
    refused(repository, "0.2.0", "nothing under Unreleased")


def test_another_branch_stops_a_release(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "-b", "feature")
    refused(repository, "0.2.0", "on main")


@pytest.mark.parametrize("version", ["0.1.0", "0.0.9"])
def test_an_older_version_is_refused(repository: Repository, version: str) -> None:
    refused(repository, version, "not newer than 0.1.0")


@pytest.mark.parametrize("version", ["", "v0.2.0", "0.2", "0.2.0rc1", "0.02.0", "0.2.0; true"])
def test_what_is_no_version_is_refused(repository: Repository, version: str) -> None:
    refused(repository, version, "usage:")
