"""The bench of turn-taking, on a small corpus, with the real detector and the real canceller."""

import argparse
from pathlib import Path

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
        assert figures[f"{part}_fluent_auto_asked_cut_off_percent"] == 0.0
        loss = figures[f"{part}_barge_in_echo_return_loss_enhancement_db_p50"]
        assert isinstance(loss, float)
        assert loss > 10
        fixed = figures[f"{part}_fixed_decision_ms_p50"]
        assert isinstance(fixed, int)
        assert 700 <= fixed <= 1100


def test_a_real_recogniser_is_asked_at_the_pauses(models_dir: Path) -> None:
    parser = argparse.ArgumentParser()
    turns.configure(parser)
    figures = turns.measure(
        parser.parse_args(
            [
                "--speakers=1", "--utterances=2", "--duplexes=3", f"--models-dir={models_dir}",
                "--recogniser=faster_whisper:whisper-tiny-en", "--tuned-voice=hibari",
            ]
        )
    )  # fmt: skip
    for part in ("tuned", "held_out"):
        assert figures[f"{part}_auto_heard_never_percent"] == 0.0
        assert figures[f"{part}_fluent_auto_heard_never_percent"] == 0.0
        took_ms = figures[f"{part}_recogniser_ms_p50"]
        assert isinstance(took_ms, int)
        assert took_ms > 0


@pytest.mark.parametrize("argument", ["--speakers=0", "--duplexes=2", "--seed=-1"])
def test_the_corpus_is_bounded(argument: str) -> None:
    parser = argparse.ArgumentParser()
    turns.configure(parser)
    with pytest.raises(SystemExit):
        parser.parse_args([argument])
