"""差异待核: what in a report somebody should look at. Never a verdict, and no deduction follows (FACTS A12)."""
