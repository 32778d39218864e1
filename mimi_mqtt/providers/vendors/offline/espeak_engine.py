"""The espeak-ng library in this process, through ctypes: one per process, since its state is global.

Facts from `espeak-ng/speak_lib.h` of 1.52: synchronous mode calls back with the samples during
`espeak_Synth`; nothing in it may run twice at once, so a lock is held over each sentence. The call releases
the GIL.
"""

import ctypes
import os
import threading
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import TypeAlias

import numpy as np

from mimi_mqtt.audio import Pcm

_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_RATE, _PITCH = 1, 3
_IPA = 2
_TIED = 1 << 7
_OK = 0
_LONGEST_PATH = 150  # the library keeps paths in 160 bytes, and names of files are added

MIN_WORDS_PER_MINUTE, MAX_WORDS_PER_MINUTE = 80, 450
"""The range of the library's speaking rate."""

_USUAL_RATE, _USUAL_PITCH = 175, 50  # the library's own; phonemes depend on neither

_Samples: TypeAlias = "ctypes._Pointer[ctypes.c_short]"
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class EspeakFailure(Exception):
    """Raised when the library refuses; the message names what."""


class _Voice(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.POINTER(ctypes.c_char)),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("reserved", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


@dataclass(frozen=True, slots=True)
class Speech:
    """Manner of speaking: a voice of the library, words per minute, and pitch 0 to 100."""

    voice: str
    words_per_minute: int
    pitch: int


class Engine:
    """The library, initialised with its data. Blocking; may be called from any thread.

    Raises EspeakFailure when the library or its data can't be loaded.
    """

    def __init__(self, library_path: str, data_path: str) -> None:
        self._lock = threading.Lock()
        self._made: list[Pcm] = []
        self._set: Speech | None = None
        try:
            self._library = ctypes.CDLL(library_path)
        except OSError as error:
            raise EspeakFailure(f"libespeak-ng can't be loaded: {error}") from None
        self._declare()
        self.sample_rate: int = self._library.espeak_Initialize(
            _SYNCHRONOUS, 0, self._short(data_path), _DONT_EXIT
        )
        """Hz of all speech; 22050."""
        if self.sample_rate <= 0:
            raise EspeakFailure(f"espeak-ng's data in {data_path} can't be read")
        self._callback = _Callback(self._take)
        self._library.espeak_SetSynthCallback(self._callback)

    def _declare(self) -> None:
        library = self._library
        library.espeak_Initialize.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int)
        library.espeak_SetVoiceByName.argtypes = (ctypes.c_char_p,)
        library.espeak_SetParameter.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int)
        library.espeak_ListVoices.argtypes = (ctypes.c_void_p,)
        library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        library.espeak_Synth.argtypes = (
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        )
        library.espeak_TextToPhonemes.argtypes = (ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, ctypes.c_int)
        library.espeak_TextToPhonemes.restype = ctypes.c_char_p

    def _short(self, data_path: str) -> bytes:
        """The path of the data; a long one through a descriptor that stays open as long as the process."""
        path = os.fsencode(data_path)
        if len(path) <= _LONGEST_PATH:
            return path
        try:
            return b"/proc/self/fd/%d" % os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise EspeakFailure(f"espeak-ng's data in {data_path} can't be read: {error}") from None

    def _take(self, samples: _Samples, count: int, _events: int) -> int:
        if count > 0:
            self._made.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    @cached_property
    def voices(self) -> dict[str, str]:
        """Voice names by language tag in lower case, such as `pt-br` to `roa/pt-BR`."""
        found: dict[str, str] = {}
        with self._lock:
            listed = self._library.espeak_ListVoices(None)
            index = 0
            while listed[index]:
                voice = listed[index].contents
                # One byte of priority, then the tag.
                tag = ctypes.cast(voice.languages, ctypes.c_char_p).value or b""
                found.setdefault(tag[1:].decode().lower(), voice.identifier.decode())
                index += 1
        return found

    def speak(self, text: str, speech: Speech) -> Pcm:
        """The samples of `text`, silence around it included. Raises EspeakFailure for an unknown voice."""
        with self._lock:
            self._choose(speech)
            self._made.clear()
            encoded = text.encode()
            result = self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, _CHARS_UTF8, None, None)
            made, self._made = self._made, []
        if result != _OK:
            raise EspeakFailure(f"espeak-ng answered {result}")
        return np.concatenate(made) if made else np.zeros(0, np.int16)

    def phonemes(self, text: str, voice: str, tie: str = "") -> str:
        """`text` in the International Phonetic Alphabet, without its punctuation, as `voice` says it.

        The letters of one sound, such as a diphthong, are joined by `tie`. Raises EspeakFailure for an
        unknown voice.
        """
        mode = _IPA | (_TIED | ord(tie) << 8 if tie else 0)
        encoded = ctypes.create_string_buffer(text.encode())
        rest = ctypes.c_void_p(ctypes.addressof(encoded))
        clauses: list[bytes] = []
        with self._lock:
            self._choose(Speech(voice, _USUAL_RATE, _USUAL_PITCH))
            while rest.value is not None:  # each call reads a clause and moves on; None: there is no more
                clauses.append(
                    self._library.espeak_TextToPhonemes(ctypes.byref(rest), _CHARS_UTF8, mode) or b""
                )
        return b" ".join(clauses).decode("utf-8", "replace")

    def _choose(self, speech: Speech) -> None:
        if speech == self._set:
            return
        self._set = None
        if self._library.espeak_SetVoiceByName(speech.voice.encode()) != _OK:
            raise EspeakFailure(f"espeak-ng has no voice {speech.voice!r}")
        self._library.espeak_SetParameter(_RATE, speech.words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, speech.pitch, 0)
        self._set = speech


_engine: Engine | None = None
_engine_lock = threading.Lock()


def shared_engine(loader: ModuleType) -> Engine:
    """The process's one engine, loaded on first use with the library and data of `espeakng_loader`."""
    global _engine
    with _engine_lock:
        if _engine is None:
            try:
                data_path = loader.get_data_path()
            except RuntimeError as error:
                raise EspeakFailure(str(error)) from None
            _engine = Engine(loader.get_library_path(), data_path)
        return _engine
