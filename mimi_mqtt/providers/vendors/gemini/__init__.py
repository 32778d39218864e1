"""Google Gemini: language, speech, and the Live API."""
