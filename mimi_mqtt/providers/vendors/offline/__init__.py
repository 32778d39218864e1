"""Everything that works without a key and without internet.

PocketSphinx hears, espeak-ng speaks, and an assistant without a language model answers.
"""
