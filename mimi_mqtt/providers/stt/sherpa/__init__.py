"""What `sherpa_onnx` is made of: which files a model has, and loading it without risk.

Imports `errors` and `providers.base`; imported by `providers.stt.sherpa_onnx` alone.
"""
