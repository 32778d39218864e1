"""One turn of a conversation: hear, think, speak.

`turn` is the state table (pure), `conversation` drives it for one session, an `engine` understands and
answers; `pipeline` streams LLM -> sentences -> TTS, `hearing` and `speech` are the two ends where Opus
meets PCM. Imports `tools`, `providers`, `fleet`, `store`, `audio` and below; only `session` and the
composition root import it.
"""
