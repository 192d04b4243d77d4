"""Turning dictionaries and codes into measured numbers."""
