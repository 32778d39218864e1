"""The bench of turn-taking, on a small corpus, with the real detector and the real canceller."""

import argparse

import pytest

from mimi_mqtt.cli.bench import turns


def test_a_small_corpus_gives_all_figures() -> None:
    parser = argparse.ArgumentParser()
    turns.configure(parser)
    figures = turns.measure(parser.parse_args(["--speakers", "2", "--utterances", "3", "--duplexes", "3"]))
    for part in ("tuned", "held_out"):
        for strategy in (
            "fixed",
            "adaptive",
            "transcript",
            "vendor",
            "auto_streaming",
            "auto_asked",
            "auto_deaf",
        ):
            assert figures[f"{part}_{strategy}_never_percent"] == 0.0
        loss = figures[f"{part}_barge_in_echo_return_loss_enhancement_db_p50"]
        assert isinstance(loss, float)
        assert loss > 10
        fixed = figures[f"{part}_fixed_decision_ms_p50"]
        assert isinstance(fixed, int)
        assert 700 <= fixed <= 1100


@pytest.mark.parametrize("argument", ["--speakers=0", "--duplexes=2", "--seed=-1"])
def test_the_corpus_is_bounded(argument: str) -> None:
    parser = argparse.ArgumentParser()
    turns.configure(parser)
    with pytest.raises(SystemExit):
        parser.parse_args([argument])
