"""Answers: the interface of an engine, its context, and the two engines `pipeline` and `realtime`.

Imports `services`, `utterance`, `speech` and below; `turn` and `conversation` import it.
"""
