"""Commands for a device: say, notify, alert, call a tool, end its session, disconnect it.

One implementation, `runner.Commands`, checks who asks, bounds the time, and leaves an audit line and an
event. It reaches devices through the Protocols in `ports`, which `session.control` implements; `notices` has
the policy for what a device is to hear although it may be idle or away. Imports `session` and what is below
it; the transports, HTTP, the house and the command line are its callers.
"""
