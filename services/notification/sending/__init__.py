"""What becomes of planned messages: claimed, handed to a channel, and what came of it; and what the office sees of it."""
