"""The wire protocol of each vendor of speech to text, beyond the contract."""
