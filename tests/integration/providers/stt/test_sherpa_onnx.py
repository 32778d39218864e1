"""sherpa-onnx: real loading and decoding of tiny models, and models that can't be used."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from importlib import import_module
from pathlib import Path

import pytest

from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.vendors.sherpa.models import KINDS, Kind
from tests.integration.providers.stt.hearing import begun, final, provider, transcripts
from tests.models import sherpa


async def test_a_streaming_model_is_heard_while_the_speaker_speaks(tmp_path: Path) -> None:
    stt = provider("sherpa_onnx", stt_model=sherpa.streaming(tmp_path), stt_kind="streaming_nemo_ctc")
    assert stt.capabilities.streaming
    await stt.start()
    recording = begun(8000)
    async with aclosing(stt.listen(recording, "en")) as heard:
        assert [(await anext(heard)).text for _ in range(2)] == ["hello", "hello world"]
        assert not recording.ended
        recording.end()
        assert [transcript.text async for transcript in heard][-1] == "hello world"
    await stt.aclose()


async def test_a_streaming_model_judges_the_end_itself(tmp_path: Path) -> None:
    folder = sherpa.streaming(tmp_path)
    judging = provider("sherpa_onnx", stt_model=folder, stt_kind="streaming_nemo_ctc")
    assert [heard.text for heard in await transcripts(judging, samples=48_000) if heard.endpoint] == [
        "hello world"
    ]
    silent = provider("sherpa_onnx", stt_model=folder, stt_kind="streaming_nemo_ctc", stt_endpointing_ms=0)
    assert not any(heard.endpoint for heard in await transcripts(silent, samples=48_000))


async def test_the_kind_is_read_from_the_folders_name(tmp_path: Path) -> None:
    stt = provider("sherpa_onnx", stt_model=sherpa.offline(tmp_path / "sherpa-onnx-nemo-ctc-tiny"))
    assert not stt.capabilities.streaming
    assert (await final(stt)).text == "hello world"


async def test_a_model_of_one_language_says_so(tmp_path: Path) -> None:
    stt = provider(
        "sherpa_onnx", stt_model=sherpa.offline(tmp_path), stt_kind="nemo_ctc", stt_languages=["de"]
    )
    assert stt.capabilities.languages == frozenset({"de"})
    assert (await final(stt, language="en")).language == "de"


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        (("en", "ANGRY"), ("en", "angry")),
        (("ja", "HAPPY"), ("ja", "happy")),
        (("yue", "NEUTRAL"), ("yue", "")),
        (("ko", "EMO_UNKNOWN"), ("ko", "")),
    ],
)
async def test_language_and_emotion_are_told_by_a_model_that_knows_them(
    tmp_path: Path, tags: tuple[str, str], told: tuple[str, str]
) -> None:
    stt = provider("sherpa_onnx", stt_model=sherpa.sense_voice(tmp_path, *tags), stt_kind="sense_voice")
    heard = await final(stt)
    assert (heard.text, heard.language, heard.emotion) == ("hello world", *told)
    await stt.aclose()


@pytest.mark.parametrize(
    ("options", "detects"),
    [
        ({"stt_kind": "sense_voice"}, None),
        ({"stt_kind": "sense_voice", "stt_language": "ja"}, frozenset()),
        ({"stt_kind": "nemo_ctc"}, frozenset()),
    ],
)
async def test_models_that_find_out_the_language_say_so(
    tmp_path: Path, options: Mapping[str, str], detects: frozenset[str] | None
) -> None:
    stt = provider("sherpa_onnx", stt_model=sherpa.offline(tmp_path), **options)
    assert stt.capabilities.detects == detects


def test_a_model_that_must_be_told_the_language_finds_none() -> None:
    finds = {name for name, kind in KINDS.items() if kind.finds_language}
    assert finds == {"sense_voice", "whisper"}


async def test_a_folder_that_can_not_be_read_is_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(folder: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied")

    folder = sherpa.offline(tmp_path)
    monkeypatch.setattr(Path, "iterdir", refused)
    stt = provider("sherpa_onnx", stt_model=folder, stt_kind="nemo_ctc")
    with pytest.raises(ProviderNotConfigured, match="Permission denied"):
        await stt.start()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_library_has_every_kind(kind: Kind) -> None:
    package = import_module("sherpa_onnx")
    maker = package.OnlineRecognizer if kind.streaming else package.OfflineRecognizer
    known = inspect.signature(getattr(maker, kind.method)).parameters
    taken = {*kind.files, *kind.languages, *kind.folders, *kind.fixed, "num_threads"}
    taken |= {"tokens"} if kind.tokens else set()
    taken |= {"model_type"} if kind.model_type else set()
    taken |= {"enable_endpoint_detection", "rule2_min_trailing_silence"} if kind.streaming else set()
    assert taken <= {*known}


async def test_a_model_folder_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ProviderNotConfigured, match="stt_model"):
        await provider("sherpa_onnx").start()
    with pytest.raises(ProviderNotConfigured, match="not a folder"):
        await provider("sherpa_onnx", stt_model=tmp_path / "nowhere").start()


async def test_a_file_that_is_no_model_is_told_of(tmp_path: Path) -> None:
    folder = sherpa.offline(tmp_path)
    (folder / "model.onnx").write_bytes(b"<html>")
    with pytest.raises(ProviderNotConfigured, match="can't use the model"):
        await provider("sherpa_onnx", stt_model=folder, stt_kind="nemo_ctc").start()


async def test_a_model_of_another_kind_does_not_end_the_server(tmp_path: Path) -> None:
    # The library calls exit() when a model lacks what it looks for.
    folder = sherpa.offline(tmp_path)
    with pytest.raises(ProviderNotConfigured, match="stt_kind"):
        await provider("sherpa_onnx", stt_model=folder, stt_kind="streaming_zipformer_ctc").start()
