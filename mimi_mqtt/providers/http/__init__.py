"""What vendors over HTTP and WebSocket share: clients, error kinds, audio formats."""
