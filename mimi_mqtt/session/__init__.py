"""One live conversation with a device: hello to goodbye.

`link` is the interface to transports; `presence` and `attachment` know every control connection and hand a
session over from one to the next; `manager` opens, replaces and expires sessions (`hello` says which can be);
`session` turns device messages into voice events, `output` voice events into device messages; `playout` paces
the downlink. Imports `voice` and below; commands, transports, http and the composition root import it.
"""
