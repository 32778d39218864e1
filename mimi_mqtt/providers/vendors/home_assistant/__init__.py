"""Home Assistant's conversation API."""
