"""Values in what customers write: typed ones, those of a firm's own lists, and learned ones."""
