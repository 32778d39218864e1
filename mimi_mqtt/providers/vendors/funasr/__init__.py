"""FunASR, a recogniser behind a WebSocket."""
