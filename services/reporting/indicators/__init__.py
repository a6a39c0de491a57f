"""Indicators: formulas of the campaign file over what units reported and what was recorded; and their rankings (DESIGN §5.2)."""
