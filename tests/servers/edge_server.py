"""A local server that speaks the WebSocket protocol of the Edge browser's voices, with real MP3."""

import io
from collections.abc import Iterable
from functools import cache
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import av
import numpy as np
from websockets.http11 import Response

from tests.servers.vendor import Asked, HungUp
from tests.servers.websocket_vendor import Line, WebSocketVendor, answer

PATH = "/consumer/speech/synthesize/readaloud/edge/v1"
TONES_HZ = (1_000, 2_000, 3_000)
_SSML = "{http://www.w3.org/2001/10/synthesis}"
_PIECE_BYTES = 720


class EdgeServer(WebSocketVendor):
    """Says three tones, of 1, 2 and 3 kHz."""

    def __init__(self) -> None:
        super().__init__()
        self.speech = tones()

    def refusal(self, asked: Asked) -> Response | None:
        address = urlsplit(asked.path)
        query = parse_qs(address.query)
        wanted = {"TrustedClientToken", "ConnectionId", "Sec-MS-GEC", "Sec-MS-GEC-Version"}
        if address.path != PATH or not wanted <= set(query) or "muid=" not in asked.headers.get("cookie", ""):
            return answer(403, b"")
        return None

    async def converse(self, line: Line) -> None:
        config = str(await line.connection.recv())
        request = str(await line.connection.recv())
        if "Path:speech.config" not in config or "audio-24khz-48kbitrate-mono-mp3" not in config:
            raise HungUp
        head, _, document = request.partition("\r\n\r\n")
        fields = dict(row.split(":", 1) for row in head.split("\r\n"))
        root = ElementTree.fromstring(document)
        voice, prosody = root.find(f"{_SSML}voice"), root.find(f".//{_SSML}prosody")
        assert voice is not None
        assert prosody is not None
        line.asked.fields |= {
            "text": "".join(root.itertext()),
            "voice": voice.get("name"),
            "rate": prosody.get("rate"),
            "pitch": prosody.get("pitch"),
        }
        mark = f"X-RequestId:{fields['X-RequestId']}\r\n"
        await line.connection.send(mark + "Content-Type:application/json\r\nPath:turn.start\r\n\r\n{}")
        await line.connection.send(mark + "Content-Type:application/json\r\nPath:response\r\n\r\n{}")
        header = (mark + "Content-Type:audio/mpeg\r\nPath:audio\r\n").encode()
        for at in range(0, len(self.speech), _PIECE_BYTES):
            piece = self.speech[at : at + _PIECE_BYTES]
            await line.send(len(header).to_bytes(2, "big") + header + piece)
        bare = (mark + "Path:audio\r\n").encode()
        await line.send(len(bare).to_bytes(2, "big") + bare)
        await line.send(
            mark + 'Path:audio.metadata\r\n\r\n{"Metadata": [{"Type": "SentenceBoundary", "Data": '
            '{"Offset": 0, "Duration": 9000000, "text": {"Text": "hello", "Length": 5}}}]}'
        )
        await line.send(mark + "Path:turn.end\r\n\r\n{}")


@cache
def tones() -> bytes:
    """0.3 s of each tone, as MP3 of 48 kbit/s at 24 kHz."""
    seconds = np.arange(7_200) / 24_000
    wave = np.concatenate([8_000 * np.sin(2 * np.pi * hertz * seconds) for hertz in TONES_HZ])
    file = io.BytesIO()
    with av.open(file, "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as container:
        stream = container.add_stream("libmp3lame", rate=24_000, layout="mono", bit_rate=48_000)
        frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None, :], format="s16p", layout="mono")
        frame.sample_rate = 24_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()


def heard_tones(samples: Iterable[int]) -> str:
    """The tones in `samples` (24 kHz) in their order, in kHz, such as `1 2 3`."""
    heard: list[str] = []
    whole = np.array(list(samples), np.float64)
    for window in np.split(whole[: whole.size // 1_200 * 1_200], whole.size // 1_200):
        spectrum = np.abs(np.fft.rfft(window))
        if np.abs(window).max() < 4_000:
            continue
        tone = f"{round(float(spectrum.argmax()) * 20 / 1_000)}"  # 20 Hz a bin
        if not heard or heard[-1] != tone:
            heard.append(tone)
    return " ".join(heard)
