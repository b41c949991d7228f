"""Text, models and files; knows no application."""
