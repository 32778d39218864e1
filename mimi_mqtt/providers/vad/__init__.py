"""Voice activity detectors: one file a vendor, loaded by name through `providers.registry` alone."""
