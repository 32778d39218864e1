import contextlib
import ctypes.util
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.audio import Pcm, opus
from mimi_mqtt.audio.opus import OpusDecoder, OpusEncoder, PacketCheck, is_plausible, packet_duration_samples
from mimi_mqtt.errors import AudioError, StartupError


def tone(rate: int, ms: int, hz: float = 440.0) -> Pcm:
    return (9000 * np.sin(2 * np.pi * hz * np.arange(rate * ms // 1000) / rate)).astype(np.int16)


def pitch(pcm: Pcm, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum)) * rate / len(pcm)


@pytest.mark.parametrize("frame_ms", [20, 40, 60])
@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_a_tone_survives_encoding_and_decoding(rate: int, frame_ms: int) -> None:
    encoder, decoder = OpusEncoder(rate), OpusDecoder(rate)
    signal, frame = tone(rate, 1200), rate * frame_ms // 1000
    packets = [encoder.encode(signal[at : at + frame]) for at in range(0, len(signal), frame)]
    heard = np.concatenate([decoder.decode(packet) for packet in packets])
    assert len(heard) == len(signal)
    assert pitch(heard[rate // 5 :], rate) == pytest.approx(440, abs=3)
    assert np.abs(heard[rate // 5 :]).max() == pytest.approx(9000, rel=0.15)


def test_a_decoder_may_work_at_another_rate_than_the_encoder() -> None:
    encoder, decoder = OpusEncoder(24_000), OpusDecoder(16_000)
    signal = tone(24_000, 600)
    heard = np.concatenate([decoder.decode(encoder.encode(part)) for part in np.split(signal, 10)])
    assert len(heard) == 9600
    assert pitch(heard[3200:], 16_000) == pytest.approx(440, abs=3)


def test_decoded_frames_do_not_share_memory() -> None:
    encoder, decoder = OpusEncoder(16_000), OpusDecoder(16_000)
    first = decoder.decode(encoder.encode(tone(16_000, 60)))
    before = first.copy()
    decoder.decode(encoder.encode(tone(16_000, 60, 1000)))
    assert np.array_equal(first, before)


def test_a_loss_is_concealed_and_fades_to_silence() -> None:
    encoder, decoder = OpusEncoder(16_000, application="voip"), OpusDecoder(16_000)
    for part in np.split(tone(16_000, 600), 10):
        decoder.decode(encoder.encode(part))
    run = [decoder.conceal(960) for _ in range(12)]
    assert all(len(frame) == 960 for frame in run)
    assert np.abs(run[0]).max() > 1000
    assert np.abs(run[-1]).max() < np.abs(run[0]).max() / 10


def test_conceal_refuses_more_than_a_packet_can_hold() -> None:
    decoder = OpusDecoder(16_000)
    for samples in (0, -1, 1921, 7):
        with pytest.raises(AudioError):
            decoder.conceal(samples)


@given(packet=st.binary(max_size=300))
def test_decoding_junk_gives_samples_or_an_audio_error(packet: bytes) -> None:
    decoder = OpusDecoder(16_000)
    with contextlib.suppress(AudioError):
        assert len(decoder.decode(packet)) <= 1920
    good = OpusEncoder(16_000).encode(tone(16_000, 60))
    assert len(decoder.decode(good)) == 960


@given(packet=st.binary(max_size=300))
def test_a_plausible_packet_decodes_to_exactly_one_frame(packet: bytes) -> None:
    if is_plausible(packet, 16_000, 60):
        assert packet_duration_samples(packet, 16_000) == 960
        assert not packet[0] & 0x04


@pytest.mark.parametrize("frame_ms", [20, 40, 60])
@pytest.mark.parametrize("application", ["audio", "voip"])
def test_packets_are_plausible_for_their_own_frame_length_only(
    frame_ms: int, application: opus.Application
) -> None:
    encoder = OpusEncoder(16_000, application=application)
    packet = encoder.encode(tone(16_000, frame_ms))
    assert [length for length in (10, 20, 40, 60, 120) if is_plausible(packet, 16_000, length)] == [frame_ms]
    assert packet_duration_samples(packet, 16_000) == 16 * frame_ms


def test_a_stream_of_two_channels_may_have_packets_of_either_and_is_heard_as_one() -> None:
    check, packet = PacketCheck(16_000, 60, stereo=True), OpusEncoder(16_000).encode(tone(16_000, 60))
    from opuslib import APPLICATION_VOIP, Encoder  # when libopus was found

    two = Encoder(16_000, 2, APPLICATION_VOIP).encode(np.repeat(tone(16_000, 60), 2).tobytes(), 960)
    assert check(packet)
    assert check(two)
    assert not PacketCheck(16_000, 60)(two)
    assert len(OpusDecoder(16_000).decode(two)) == 960


def test_stereo_empty_and_truncated_packets_are_not_plausible() -> None:
    check = PacketCheck(16_000, 60)
    packet = OpusEncoder(16_000).encode(tone(16_000, 60))
    assert check(packet)
    assert not check(bytes((packet[0] | 0x04,)) + packet[1:])
    assert not check(b"")
    three_frames_announced_none_there = bytes((packet[0] | 0x03,))
    assert not check(three_frames_announced_none_there)


def test_few_random_payloads_are_plausible() -> None:
    check, random = PacketCheck(16_000, 60), np.random.default_rng(1)
    passed = sum(check(random.bytes(120)) for _ in range(20_000))
    assert passed < 20_000 * 0.02


def test_an_encoder_refuses_odd_lengths_and_types() -> None:
    encoder = OpusEncoder(16_000)
    for frame in (np.zeros(0, np.int16), np.zeros(961, np.int16)):
        with pytest.raises(AudioError, match="encode"):
            encoder.encode(frame)
    with pytest.raises(AudioError, match="int16"):
        encoder.encode(np.zeros(960, np.float32))


def test_an_encoder_takes_slices_that_are_not_contiguous() -> None:
    signal = tone(16_000, 120)
    assert OpusEncoder(16_000).encode(signal[::2]) == OpusEncoder(16_000).encode(signal[::2].copy())


def test_wrong_rates_and_settings_are_audio_errors() -> None:
    with pytest.raises(AudioError, match="44100"):
        OpusDecoder(44_100)
    with pytest.raises(AudioError, match="44100"):
        OpusEncoder(44_100)
    with pytest.raises(AudioError, match="complexity"):
        OpusEncoder(16_000, complexity=11)
    with pytest.raises(AudioError, match="read a packet"):
        packet_duration_samples(b"", 16_000)


def test_reset_starts_a_stream_over() -> None:
    signal = tone(16_000, 60)
    encoder, decoder = OpusEncoder(16_000), OpusDecoder(16_000)
    first = encoder.encode(signal)
    heard = decoder.decode(first)
    encoder.reset()
    decoder.reset()
    assert encoder.encode(signal) == first
    assert np.array_equal(decoder.decode(first), heard)


def test_codecs_work_in_many_threads_at_once() -> None:
    packets = [OpusEncoder(16_000).encode(tone(16_000, 60, hz)) for hz in (300, 500, 700, 900)]
    expected = [OpusDecoder(16_000).decode(packet) for packet in packets]
    results: list[bool] = []

    def work(which: int) -> None:
        for _ in range(50):
            results.append(np.array_equal(OpusDecoder(16_000).decode(packets[which]), expected[which]))

    threads = [threading.Thread(target=work, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 200
    assert all(results)


def test_the_library_says_what_it_is() -> None:
    assert opus.libopus_version().startswith("libopus")


def test_without_any_libopus_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    monkeypatch.setattr(opus, "_bundled_library", lambda: None)
    with pytest.raises(StartupError, match="apt-get install libopus0"):
        opus._library.__wrapped__()


def test_silence_with_dtx_becomes_packets_of_one_byte() -> None:
    silence = np.zeros(960, np.int16)
    for dtx in (True, False):
        encoder = OpusEncoder(16_000, application="voip", dtx=dtx)
        packets = [encoder.encode(silence) for _ in range(12)]
        assert any(len(packet) == 1 for packet in packets) is dtx
        assert all(is_plausible(packet, 16_000, 60) for packet in packets)
