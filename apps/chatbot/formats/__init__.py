"""Bots as other tools' files: read from them, and written for them."""
