"""From text to Opus: sentences, moods, encoding, fixed phrases."""
