"""What the server knows of people: the last turns of earlier conversations, for prompts that tell of them.

Imports `store`, `config` and below; voice and app import it.
"""
