"""The liaison's page `/r`: what a unit owes, reported from a phone in a minute, with a receipt (DESIGN §5.2)."""
