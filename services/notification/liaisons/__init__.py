"""Names and phones of units' liaisons: kept here alone, and shown to the office one at a time, with a reason (FACTS A7)."""
