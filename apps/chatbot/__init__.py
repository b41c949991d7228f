"""A customer-service bot that learns from a firm's own dialogues."""
