"""Wyoming, the protocol of Home Assistant's speech servers."""
