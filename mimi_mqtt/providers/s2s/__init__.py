"""Speech-to-speech vendors, one module each; the registry loads them by name, nobody imports them."""
