"""Past support dialogues to drafted intents: read, mask, choose answers, group, name, report."""
