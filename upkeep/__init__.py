"""Keeping a deployment: its backup and restore, its health in plain words, and what it must forget."""
