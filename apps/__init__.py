"""The three applications. None imports another."""
