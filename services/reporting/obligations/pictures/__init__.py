"""Pictures that units add to their reports: taken in, re-encoded, kept for a time, found again (DESIGN §5.2)."""
