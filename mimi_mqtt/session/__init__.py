"""One live conversation with a device: hello to goodbye.

`link` says what a session asks of a transport; `manager` finds, opens, replaces and expires sessions;
`session` turns device messages into voice events and back; `playout` paces the downlink. Imports `voice` and
below; transports, http and the composition root import it.
"""
