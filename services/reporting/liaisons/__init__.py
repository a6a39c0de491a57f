"""Who reports for each unit: the liaison, a deputy and the leader in charge, codes on slips, and bound phones (FACTS A7)."""
