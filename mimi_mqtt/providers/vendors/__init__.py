"""Vendors, one package each: every module implements roles of `providers.contract`.

Nothing imports a vendor; `catalog.registry` loads it by name.
"""
