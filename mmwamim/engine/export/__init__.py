"""Encoders that leave a run, and that arrive in another."""
