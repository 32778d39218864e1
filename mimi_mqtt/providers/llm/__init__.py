"""Language models: one file a vendor, loaded by name through `providers.registry` alone."""
