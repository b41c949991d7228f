"""What people do with a bot as lessons for it: found, reviewed, live at once, kept for training."""
