"""Opus, resampling, jitter buffer and play-out clock. Pure: samples and `now` in, samples and times out.

PCM is mono `numpy.int16` everywhere. May import `errors`; voice, transports, session, providers and cli
import it.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Pcm: TypeAlias = NDArray[np.int16]
"""Mono samples, `int16[n]`."""
