"""Voice activity: the check that every detector inherits."""

from collections.abc import Sequence

import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.contract.vad import VadStream, VoiceActivityDetector
from tests.unit.providers.fakes import FAST


class Constant(VoiceActivityDetector):
    """The same probability for everything."""

    def __init__(self, probability: float) -> None:
        super().__init__("constant", ProviderOptions(), FAST)
        self.probability = probability
        self.samples: list[int] = []

    def open(self) -> VadStream:
        return VadStream()

    def probabilities(self, batch: Sequence[tuple[VadStream, Pcm]]) -> list[float]:
        self.samples += [pcm.size for _, pcm in batch]
        return [self.probability] * len(batch)


async def test_check_judges_half_a_second_of_silence() -> None:
    detector = Constant(0.25)
    assert await detector.check() == "speech probability of silence: 0.25"
    assert detector.samples == [8_000]


@pytest.mark.parametrize("probability", [-0.1, 1.5, float("nan")])
async def test_a_probability_that_is_none_is_a_bad_answer(probability: float) -> None:
    with pytest.raises(ProviderBadAnswer):
        await Constant(probability).check()
