"""Tests of the models of sherpa-onnx."""
