"""From Opus packets to heard frames: order, decode, conceal, cancel echo, detect voice."""
