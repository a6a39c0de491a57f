"""The facts that messages are about, and what should be sent because of them."""
