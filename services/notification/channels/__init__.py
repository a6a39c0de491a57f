"""Ways to people: one file each, behind the `Channel` of `domain.py`."""
