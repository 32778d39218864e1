"""Timers, alarms and reminders: kept in the store, told when they are due, set and changed by voice.

`recurrence` (RFC 5545) and `schedule` decide, with `now` as an argument; `service` sets, lists, changes and
cancels for tools and the command line; `scheduler` tells them; `tools` offers them to language models;
`texts` has what is said. Imports `store.reminders`, `providers` (languages) and `tools.registry`; the
session manager, the command line and the composition root import it.
"""
