"""What runs around every provider: retries, time-outs, circuit breakers, fallback, hedging, usage, cache."""
