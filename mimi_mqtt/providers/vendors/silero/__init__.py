"""Silero VAD, through onnxruntime."""
