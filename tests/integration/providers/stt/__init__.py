"""What goes over each vendor's wire to speech to text, beyond the contract."""
