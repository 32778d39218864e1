"""Files: bytes by the hash of their content, and the addresses at which they are fetched and sent.

Imports `store` and below; `fleet`, `memory`, `http` and the composition root import it.
"""
