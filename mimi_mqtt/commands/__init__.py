"""Commands for a device: say, alert, call a tool, end its session, disconnect it.

One implementation, `runner.Commands`, checks who asks, bounds the time, and leaves an audit line and an
event. It reaches devices through the Protocol in `ports`, which `session.control` implements. Imports
`session` and what is below it; the transports, HTTP, the house and the command line are its callers.
"""
