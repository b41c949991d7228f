"""What is wrong with a bot's data before it is trained: findings, each with its fix."""
