"""The office's people: invitations, signing in, and which sessions they have (DESIGN §5.5)."""
