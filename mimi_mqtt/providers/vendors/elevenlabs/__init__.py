"""ElevenLabs voices."""
