"""One utterance of the user: its audio, its end (`endpointing`) and its text.

Imports `hearing` and below; `answer` and above import it.
"""
