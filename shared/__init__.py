"""The code that every service builds on, and that commands share with services."""

__version__ = "0.2.0"  # the only place; CHANGELOG.md says what is in it
