"""Encoders under other libraries' names: one module a format."""
