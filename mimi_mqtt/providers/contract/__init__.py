"""The contracts of the five provider roles, and the messages and recordings they exchange.

A vendor subclasses one role. Imports `runtime.resilience` and `runtime.usage`, which every call goes through;
imported by vendors, by the rest of `runtime`, and by `voice`.
"""
