"""The generated broker.yaml: it is the one in the repository, and it means the defaults."""

import re
from pathlib import Path

from mimi_mqtt.config import Settings, load_settings, render_default_yaml

ROOT = Path(__file__).parents[3]


def test_broker_yaml_in_the_repository_is_the_generated_one() -> None:
    assert (ROOT / "broker.yaml").read_text(encoding="utf-8") == render_default_yaml(), (
        "run: mimi-mqtt config > broker.yaml"
    )


def test_generated_file_means_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "broker.yaml"
    path.write_text(render_default_yaml(), encoding="utf-8")
    assert load_settings(path, {}) == Settings()


def test_generated_file_means_the_defaults_when_every_key_is_uncommented(tmp_path: Path) -> None:
    path = tmp_path / "broker.yaml"
    path.write_text(re.sub(r"(?m)^  #(?! )", "  ", render_default_yaml()), encoding="utf-8")
    assert load_settings(path, {}) == Settings()


def test_an_example_in_the_generated_file_is_one_that_works(tmp_path: Path) -> None:
    path = tmp_path / "broker.yaml"
    path.write_text(re.sub(r"(?m)^  # (teacher:|  )", r"  \1", render_default_yaml()), encoding="utf-8")
    assert load_settings(path, {}).every_agent["teacher"].name == "Linh"


def test_every_setting_is_documented() -> None:
    for name, section in Settings.model_fields.items():
        annotation = section.annotation
        if not isinstance(annotation, type):
            assert section.description, name
            continue
        assert annotation.__doc__, name
        for key, field in annotation.model_fields.items():
            assert field.description, f"{name}.{key}"
