"""One file for each group of commands. Heavy imports stay inside the functions."""
