"""ElevenLabs."""
