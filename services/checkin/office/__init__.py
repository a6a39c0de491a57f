"""What the office does on pages (DESIGN §5.5): the course and its figures, one viewer, lessons made good after an outage."""
