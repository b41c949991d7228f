"""Everything a running service needs: vectors, indexes, fused classification."""
