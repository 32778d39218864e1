"""Coze."""
