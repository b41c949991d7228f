"""Encoders, heads and their folders."""
