"""Memory of people: the last turns of earlier conversations, for prompts that mention them.

Imports `store`, `config` and below; voice and app import it.
"""
