"""Answers by speech to text, a language model and text to speech, each by its own provider."""
