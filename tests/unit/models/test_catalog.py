"""The catalogue of models as it is shipped."""

import pytest
from pydantic import ValidationError

from mimi_mqtt.models.catalog import FileSource, Model, PackageSource, catalog, for_language, small_set
from mimi_mqtt.providers.catalog.registry import load

TEN = ("en", "vi", "ru", "ja", "zh", "ko", "es", "fr", "de", "pt")


@pytest.mark.parametrize("language", TEN)
def test_each_of_the_ten_languages_has_a_recogniser_in_its_small_set(language: str) -> None:
    chosen = small_set(language)
    assert chosen[0].role == "stt"
    assert for_language(language, chosen) == chosen


def test_no_two_voices_of_models_that_may_be_used_together_have_one_name() -> None:
    names = [voice.name for model in catalog().values() for voice in model.voices]
    twice = {name for name in names if names.count(name) > 1}
    # The same voices, by another model or by Hibari, which learned from them.
    assert twice <= {"af_heart", "af_kore", "am_fenrir", "bf_emma", "bm_fable"}


def test_voices_speak_a_language_of_their_model() -> None:
    for model in catalog().values():
        for voice in model.voices:
            assert voice.language == "*" or voice.language.partition("-")[0] in model.languages, voice.name


def test_a_language_without_a_set_has_none() -> None:
    assert small_set("xx") == ()


def test_models_from_packages_are_pinned_in_every_file() -> None:
    for model in catalog().values():
        if any(isinstance(source, PackageSource) for source in model.sources):
            assert all(file.sha256 for file in model.files.values()), model.name
            assert all(file.bytes for file in model.files.values()), model.name


def test_every_source_of_single_files_delivers_what_is_told_of_them() -> None:
    for model in catalog().values():
        known = [file.bytes for file in model.files.values()]
        for source in model.sources:
            if isinstance(source, FileSource) and None not in known:
                assert source.bytes == sum(length or 0 for length in known), model.name


def test_licences_with_limits_say_so() -> None:
    for model in catalog().values():
        assert model.limits == "non-commercial" or "NC" not in model.licence.split("-"), model.name


def test_each_model_is_run_by_a_provider_that_knows_its_kind() -> None:
    for model in catalog().values():
        options = load(model.role, model.engine).Options
        place = {options.model_option: "/model", f"{model.role}_kind": model.kind}
        options.model_validate({key: value for key, value in place.items() if value})


ARCHIVE = {"url": "https://models.example/m.tar.bz2", "root": "m", "bytes": 9, "sha256": "0" * 64}
SINGLE_FILES = {"base": "https://models.example/", "bytes": 9}


def test_whole_folders_come_only_from_archives() -> None:
    given = catalog()["whisper-tiny-en"].model_dump()
    with pytest.raises(ValidationError, match="whole folders"):
        Model.model_validate({**given, "folders": ["data"], "sources": [ARCHIVE, SINGLE_FILES]})


def test_nothing_of_unknown_contents_is_in_the_catalogue() -> None:
    given = catalog()["whisper-tiny-en"].model_dump()
    without_hash = {key: value for key, value in ARCHIVE.items() if key != "sha256"}
    with pytest.raises(ValidationError, match="sha256"):
        Model.model_validate({**given, "sources": [without_hash]})
    with pytest.raises(ValidationError, match="a known hash and length"):
        Model.model_validate({**given, "files": {"model.bin": {"bytes": 9}}, "sources": [SINGLE_FILES]})


def test_an_address_without_encryption_is_refused() -> None:
    given = catalog()["whisper-tiny-en"].model_dump()
    with pytest.raises(ValidationError):
        Model.model_validate({**given, "sources": [{**ARCHIVE, "url": "http://models.example/m.tar.bz2"}]})


def test_a_file_outside_of_the_folder_is_refused() -> None:
    given = catalog()["whisper-tiny-en"].model_dump()
    given["files"] = {"../model.bin": given["files"]["model.bin"]}
    with pytest.raises(ValidationError):
        Model.model_validate(given)
