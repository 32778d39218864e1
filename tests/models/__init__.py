"""Tiny models, made on the spot, that real libraries load and run: what they hear is built in."""
