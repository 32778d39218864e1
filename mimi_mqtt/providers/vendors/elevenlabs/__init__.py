"""ElevenLabs, voices over HTTP."""
