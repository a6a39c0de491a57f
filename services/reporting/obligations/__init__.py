"""The reports that units owe, and when they are due (DESIGN §5.2). So far it only keeps the forms of each campaign."""
