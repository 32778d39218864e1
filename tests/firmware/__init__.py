"""Images of devices' flash, built from the documented formats."""
