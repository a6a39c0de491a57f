"""What all services stand on, and what the commands know of them."""

__version__ = "0.2.0"  # the only place; CHANGELOG.md says what is in it
