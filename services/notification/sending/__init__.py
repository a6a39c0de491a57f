"""Sends planned messages: claims them, hands them to a channel, keeps the outcome, and shows the office what became of them."""
