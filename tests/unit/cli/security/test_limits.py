from datetime import timedelta

from mimi_mqtt.cli.security.limits import examine
from tests.unit.cli.security.installation import HOME, NOW, level, machine, one, settings


def test_descriptors_must_do_for_all_connections_that_the_settings_allow() -> None:
    assert level(examine(settings(), machine(HOME, open_files=(1_024, 1 << 20))), "open files") == "ok"
    assert level(examine(settings(), machine(HOME, open_files=(1_024, -1))), "open files") == "ok"
    finding = one(examine(settings(), machine(HOME, open_files=(1_024, 4_096))), "open files")
    assert finding.level == "warning"
    assert "LimitNOFILE=" in finding.cure
    few = settings(mqtt={"max_connections": 100, "max_pending_connects": 50}, http={"max_connections": 50})
    assert level(examine(few, machine(HOME, open_files=(1_024, 4_096))), "open files") == "ok"


def test_memory_without_a_limit_is_advice() -> None:
    assert level(examine(settings(), machine(HOME)), "memory") == "advice"
    assert level(examine(settings(), machine(HOME, memory_limit_bytes=1 << 30)), "memory") == "ok"


def test_a_small_kernel_buffer_is_advice_with_its_command() -> None:
    finding = one(examine(settings(), machine(HOME, receive_buffer_max=212_992)), "UDP buffer")
    assert finding.level == "advice"
    assert "sysctl -w net.core.rmem_max=4194304" in finding.cure
    assert level(examine(settings(), machine(HOME, receive_buffer_max=1 << 23)), "UDP buffer") == "ok"
    assert level(examine(settings(), machine(HOME)), "UDP buffer") == "ok"


def test_an_old_version_is_advice() -> None:
    assert level(examine(settings(), machine(HOME, installed=NOW - timedelta(days=9))), "version") == "ok"
    assert level(examine(settings(), machine(HOME)), "version") == "ok"
    assert (
        level(examine(settings(), machine(HOME, installed=NOW - timedelta(days=400))), "version") == "advice"
    )
