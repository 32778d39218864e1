"""The names of all providers: the class of each, its requirements, and the providers of each agent.

The only package that knows vendors, by name alone: `registry` loads a vendor's module on first use. Imports
the contract and `runtime`; imported by vendors (`requirements`), voice, the command line and `app`.
"""
