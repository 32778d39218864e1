"""Memory of people: their conversations, as they read and search them, and the last turns for prompts.

Imports `store`, `config` and below; voice, http and app import it.
"""
