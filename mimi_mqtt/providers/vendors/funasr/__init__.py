"""FunASR."""
