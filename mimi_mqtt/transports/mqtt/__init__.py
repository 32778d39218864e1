"""The embedded broker: one gate for everyone, native device connections, amqtt for all other clients."""
