"""Recommends items from their texts and from what users did."""
