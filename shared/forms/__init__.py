"""What follows from a campaign's forms: when a report is due, what an indicator's value is (DESIGN §5.2)."""
