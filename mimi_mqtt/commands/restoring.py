"""Notices that waited when the server stopped, as they are loaded at its next start."""

import contextlib
from collections.abc import Mapping
from datetime import datetime

from mimi_mqtt.commands.kept_notices import KeepsNotices
from mimi_mqtt.commands.ports import NoticeControl, NoticeVoice
from mimi_mqtt.commands.waiting import Notice, TooManyNotices, WaitingList
from mimi_mqtt.errors import AudioError, OggError
from mimi_mqtt.voice.notices.recording import Recording


async def restore(
    waiting: WaitingList, kept: KeepsNotices, control: NoticeControl, voice: NoticeVoice, now: datetime
) -> None:
    """Fills `waiting` from `kept`; each notice holds its recording. Those of devices that may not connect any
    more, those whose sound can't be read, and those beyond a bound are forgotten. Raises StoreError."""
    rows, sounds = await kept.load(now)
    recordings = await _recordings(sounds, voice)
    for row in rows:
        recording = recordings.get(row.sound_id)
        if not control.knows(row.device_id) or (row.sound_id and recording is None):
            kept.forget(row.id)
            continue
        try:
            waiting.add(Notice.of(row, recording))
        except TooManyNotices:
            kept.forget(row.id)
        else:
            if recording is not None:
                recording.hold()
    for recording in recordings.values():
        recording.release()


async def _recordings(sounds: Mapping[str, bytes], voice: NoticeVoice) -> Mapping[str, Recording]:
    """The recordings by id, each held; what can't be read is left out."""
    recordings: dict[str, Recording] = {}
    for sound_id, stream in sounds.items():
        with contextlib.suppress(AudioError, OggError):
            recordings[sound_id] = await voice.record(stream)
    return recordings
