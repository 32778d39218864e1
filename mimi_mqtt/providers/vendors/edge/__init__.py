"""The voices of Microsoft's Edge browser."""
