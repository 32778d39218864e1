"""OpenAI and everything that speaks its protocol."""
