"""Kokoro, a neural voice, in this process: its Japanese voices."""
