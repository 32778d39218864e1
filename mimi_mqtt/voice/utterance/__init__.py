"""One utterance of the user: its audio, its end and its text."""
