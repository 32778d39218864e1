"""Azure Speech, in both directions."""
