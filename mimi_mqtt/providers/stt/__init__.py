"""Speech to text: one file a vendor, loaded by name through `providers.registry` alone."""
