"""Speech recognition, language models, speech synthesis, voice detection and speech-to-speech services.

`contract` has the five roles and the values they exchange; `vendors` one package for each service, loaded by
name; `catalog` the names of all providers, their requirements, and each agent's choice; `runtime` runs around
every provider: retries, time-outs, fallback, hedging, usage, the speech cache, realtime conversations; `http`
is shared by vendors over HTTP and WebSocket; `languages` knows tags and scripts.
Imports `audio`, `config` and below; voice, tools and the composition root import it.
"""
