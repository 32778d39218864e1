"""Everything that runs around a provider: retries, time-outs, breakers, fallback, hedging, usage, cache.

Imports the contract; imported by the contract (`resilience`, `usage`), `catalog`, vendors and voice.
"""
