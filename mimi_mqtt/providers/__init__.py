"""Who hears, thinks and speaks: the contracts, the registry, fallback chains, and one file a vendor.

`base` holds the contracts and all that vendors share (time-outs, retries, metrics); `registry` loads a vendor
by name ("module:Class"), so nobody imports a vendor module and no SDK is loaded before it is used. `fallback`
makes a chain of several, with a `breaker` for each and, if wanted, `hedging`; `usage` counts what they cost;
`overview` lists them all. `speech_to_speech` is the contract of the services that do all three at once, which
`speech_session` keeps a conversation with. Imports `audio`, `config` and below; voice, tools and the
composition root import it.
"""
