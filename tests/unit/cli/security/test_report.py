"""`mimi-mqtt doctor --security`: its order, its two forms, its exit code, with a server and without."""

import json
from pathlib import Path

import pytest

from mimi_mqtt.cli import main
from mimi_mqtt.cli.security import machine as machine_module
from mimi_mqtt.cli.security import report
from mimi_mqtt.cli.security.finding import Finding
from tests.unit.cli.security.installation import HOME, machine, settings
from tests.unit.cli.test_server_process import server

GOOD = """
mqtt: {bind: "127.0.0.1:1883"}
http: {bind: "127.0.0.1:8003"}
udp: {bind: "127.0.0.1:8884"}
providers: {stt: offline, llm: offline, tts: offline}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings of an installation that only this machine can reach."""
    for variable in ("MIMI_ACCOUNTS__ADMIN_PASSWORD", "MIMI_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    found = machine(HOME, open_files=(1_024, 1 << 20))
    monkeypatch.setattr(machine_module, "look", lambda _: found)
    path = tmp_path / "broker.yaml"
    path.write_text(f"server: {{data_dir: {tmp_path / 'data'}}}\n{GOOD}")
    path.chmod(0o600)
    return path


def test_a_good_installation_ends_with_0(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--security", "--config", str(file)]) == 0
    told = capsys.readouterr().out
    assert "warning " not in told
    assert told.splitlines()[-1].startswith("0 warnings")


def test_a_warning_ends_with_1_and_has_its_cure(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.chmod(0o666)
    assert main(["doctor", "--security", "--config", str(file)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("1 warning, ")
    (at,) = [number for number, line in enumerate(lines) if line.startswith("warning ")]
    assert lines[at + 1] == f"        -> chmod go-w {file}"


def test_the_report_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.chmod(0o666)
    assert main(["doctor", "--security", "--json", "--config", str(file)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["warnings"] == 1
    findings = told["findings"]
    assert {frozenset(finding) for finding in findings} == {frozenset({"level", "what", "seen", "cure"})}
    assert sum(finding["level"] == "advice" for finding in findings) == told["advice"]
    assert [finding["what"] for finding in findings if finding["level"] == "warning"] == ["settings' file"]


def test_the_limits_of_a_running_server_count_and_not_those_of_the_command(tmp_path: Path) -> None:
    with server(tmp_path) as pid:
        found = machine_module.look(tmp_path)
    assert found.pid == pid
    assert f"pid {pid}" in next(
        finding.seen for finding in report.examine(settings(), found, None, {}) if finding.what == "user"
    )


def test_every_finding_has_a_name_of_its_own_and_a_cure_where_one_is_needed() -> None:
    findings = report.examine(settings(), machine(HOME), None, {})
    names = [finding.what for finding in findings]
    assert len(names) == len(set(names))
    assert all(bool(finding.cure) == (finding.level != "ok") for finding in findings)


def test_both_forms_tell_the_same() -> None:
    findings = [Finding("warning", "a", "b", "c"), Finding("ok", "d", "e")]
    assert report.as_text(findings).splitlines()[:3] == ["warning a: b", "        -> c", "ok      d: e"]
    assert [each["what"] for each in json.loads(report.as_json(findings))["findings"]] == ["a", "d"]
