"""Upkeep of a deployment: backup and restore, its health in plain words, and the erasure of personal data."""
