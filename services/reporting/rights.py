"""What reporting's own role may not do to its tables (shared/database/rights.py)."""

WITHHELD = {
    "total": "DELETE",
    "live_room_total": "DELETE",
    "platform_total": "DELETE",
    "certificate_holder": "DELETE",
    "viewer_move": "DELETE",
    "forms_revision": "UPDATE, DELETE",
    "opened_period": "UPDATE, DELETE",
    "obligation": "DELETE",
    "report": "UPDATE, DELETE",
    "obligation_change": "UPDATE, DELETE",
    "reminder": "UPDATE, DELETE",
    "finding": "UPDATE, DELETE",
    "finding_change": "UPDATE, DELETE",
    "person": "DELETE",
    "person_change": "UPDATE, DELETE",
    "liaison": "DELETE",
    "liaison_change": "UPDATE, DELETE",
    "picture": "UPDATE",
}
CHANGING = {"picture": "used_at, retain_until", "finding": "state"}
