"""People: their accounts, groups, sessions, tokens and keys, and what each may see and do.

`access` has the caller of a request with its rights, which every face of the server asks. Imports `store` and
below; `commands`, `http` and the composition root import it.
"""
