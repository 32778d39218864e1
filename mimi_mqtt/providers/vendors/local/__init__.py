"""A language model server in the house, found by itself: Ollama or LM Studio."""
