"""The office's people: their invitations, signing in, and their sessions (DESIGN §5.5)."""
