"""Coze bots: agents in somebody's service."""
