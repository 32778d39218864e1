"""The names of all providers: which class each is, what it needs, and which ones an agent uses.

The only package that knows vendors, by name alone: `registry` loads a vendor's module on first use.
"""
