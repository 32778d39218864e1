"""sherpa-onnx, in process."""
