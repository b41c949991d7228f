"""From labelled text to a better encoder."""
