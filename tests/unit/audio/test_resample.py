import numpy as np
import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.errors import AudioError


def tone(rate: int, ms: int) -> Pcm:
    return (9000 * np.sin(2 * np.pi * 440 * np.arange(rate * ms // 1000) / rate)).astype(np.int16)


@pytest.mark.parametrize(("source", "target"), [(24_000, 16_000), (22_050, 24_000), (16_000, 24_000)])
def test_a_chunked_stream_keeps_its_length_and_pitch(source: int, target: int) -> None:
    resampler, signal = Resampler(source, target), tone(source, 1000)
    parts = [resampler.process(part) for part in np.array_split(signal, 17)]
    parts.append(resampler.process(np.zeros(0, np.int16), last=True))
    out = np.concatenate(parts)
    assert out.dtype == np.int16
    assert len(out) == pytest.approx(target, abs=2)
    peak = np.argmax(np.abs(np.fft.rfft(out * np.hanning(len(out))))) * target / len(out)
    assert peak == pytest.approx(440, abs=2)


def test_a_finished_resampler_serves_another_stream() -> None:
    resampler, signal = Resampler(22_050, 24_000), tone(22_050, 500)
    first = resampler.process(signal, last=True)
    assert np.allclose(resampler.process(signal, last=True), first, atol=3)  # soxr dithers


def test_reset_forgets_the_held_back_tail() -> None:
    resampler, signal = Resampler(24_000, 16_000), tone(24_000, 60)
    first = resampler.process(signal)
    resampler.reset()
    assert np.allclose(resampler.process(signal), first, atol=3)  # soxr dithers


def test_equal_rates_pass_through() -> None:
    signal = tone(16_000, 60)
    assert Resampler(16_000, 16_000).process(signal, last=True) is signal


def test_wrong_input_is_an_audio_error() -> None:
    with pytest.raises(AudioError, match="int16"):
        Resampler(24_000, 16_000).process(np.zeros(10, np.float32))
    with pytest.raises(AudioError, match="-1 does not"):
        Resampler(-1, 16_000)
