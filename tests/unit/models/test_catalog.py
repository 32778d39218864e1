"""The catalogue of models as it is shipped."""

import pytest
from pydantic import ValidationError

from mimi_mqtt.models.catalog import Model, PackageSource, catalog, for_language, small_set

TEN = ("en", "vi", "ru", "ja", "zh", "ko", "es", "fr", "de", "pt")


@pytest.mark.parametrize("language", TEN)
def test_each_of_the_ten_languages_has_a_recogniser_in_its_small_set(language: str) -> None:
    chosen = small_set(language)
    assert chosen[0].role == "stt"
    assert for_language(language, chosen) == chosen


def test_a_language_without_a_set_has_none() -> None:
    assert small_set("xx") == ()


def test_models_from_packages_are_pinned_in_every_file() -> None:
    for model in catalog().values():
        if any(isinstance(source, PackageSource) for source in model.sources):
            assert model.pinned, model.name
            assert all(file.bytes for file in model.files.values()), model.name


def test_a_file_outside_of_the_folder_is_refused() -> None:
    given = catalog()["whisper-tiny-en"].model_dump()
    given["files"] = {"../model.bin": given["files"]["model.bin"]}
    with pytest.raises(ValidationError):
        Model.model_validate(given)
