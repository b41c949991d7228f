"""Reads financial news and mails an alert when bad news about a topic surges."""
