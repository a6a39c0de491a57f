"""Totals of check-ins by lesson, mode, unit and group, kept from events and joined with the unit tree when asked for."""
