"""Dify apps: agents in somebody's service."""
