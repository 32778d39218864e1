"""Every fuzz target on its seeds and some hundred mutations of them: none rots between nightly runs."""

import pytest

from tests.fuzz import registry
from tests.fuzz.mutation import inputs
from tests.fuzz.target import Source, pieces

INPUTS = 300


@pytest.mark.parametrize("name", registry.NAMES)
def test_the_seeds_are_accepted(name: str) -> None:
    target = registry.find(name)
    assert target.summary
    refused = [seed for seed in target.seeds if not target.check(seed)]
    assert refused == []


@pytest.mark.parametrize("name", registry.NAMES)
def test_no_invariant_is_broken_by_changed_seeds(name: str) -> None:
    target = registry.find(name)
    verdicts = [target.check(data) for data in inputs(target, INPUTS)]
    assert any(verdicts), "every input was refused: the parser was not reached"


@pytest.mark.parametrize("name", registry.NAMES)
def test_nothing_and_noise_are_taken_as_well(name: str) -> None:
    target = registry.find(name)
    for data in (b"", b"\0", b"\xff" * 64, b"\n" * 64, bytes(range(256))):
        target.check(data)


def test_the_names_are_those_of_the_modules() -> None:
    modules = dict.fromkeys(name.partition("-")[0] for name in registry.NAMES)
    assert [name for module in modules for name in registry.part(f"{module}-")] == list(registry.NAMES)


def test_inputs_are_the_same_in_each_run() -> None:
    target = registry.find("mqtt-connect")
    assert list(inputs(target, 20)) == list(inputs(target, 20))
    assert len(set(inputs(target, 60))) > 40


def test_pieces_are_the_whole() -> None:
    for data in (b"", b"a", bytes(range(256))):
        assert b"".join(pieces(data)) == data


def test_a_source_gives_zeros_at_its_end() -> None:
    source = Source(b"\x01\x02\x03")
    assert (source.number(2), source.number(2), source.number(1), bool(source)) == (0x0102, 0x0300, 0, False)
