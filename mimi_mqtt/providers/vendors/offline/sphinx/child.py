"""The child process: decodes what comes in on standard input until it ends.

`python -m …sphinx.child [NICENESS]`
"""

import ctypes
import os
import signal
import sys
from typing import BinaryIO

from mimi_mqtt.providers.vendors.offline.sphinx.decoder import Decoder
from mimi_mqtt.providers.vendors.offline.sphinx.messages import (
    MAX_AUDIO_BYTES,
    REQUEST,
    pack_answer,
    pack_ready,
)

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Serves requests; 0 when the parent has closed the pipe or is gone, 1 when there is no decoder."""
    # Ctrl-C in a terminal and systemd's stop reach the whole group; when to stop is the parent's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _die_with_parent()
    if len(sys.argv) > 1:
        os.nice(int(sys.argv[1]))
    # Whatever a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        return _serve(sys.stdin.buffer, answers)
    except BrokenPipeError:
        os._exit(0)  # the parent is gone; flushing what is left would only fail again


def _serve(requests: BinaryIO, answers: BinaryIO) -> int:
    try:
        decoder = Decoder()
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        answers.write(pack_ready(f"{type(error).__name__}: {error}"))
        answers.flush()
        return 1
    answers.write(pack_ready())
    answers.flush()
    while len(header := requests.read(REQUEST.size)) == REQUEST.size:
        number, length, commands = REQUEST.unpack(header)
        if length > MAX_AUDIO_BYTES or len(pcm := requests.read(length)) < length:
            break
        answers.write(pack_answer(number, decoder.decode(pcm, commands=commands)))
        answers.flush()
    return 0


def _die_with_parent() -> None:
    """On Linux the kernel ends this process with its parent, also in the middle of decoding."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
