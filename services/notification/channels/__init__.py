"""The channels through which people are reached; each is one file that implements `Channel` of domain.py."""
