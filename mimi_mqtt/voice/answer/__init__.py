"""Answers: the interface to what answers, the STT-LLM-TTS pipeline, and preemptive replies."""
