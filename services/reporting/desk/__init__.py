"""The office's desk: who has not reported, what to decide, and where every number comes from."""
