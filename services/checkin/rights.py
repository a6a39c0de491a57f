"""What checkin's own role may not do to its tables (shared/database/rights.py)."""

WITHHELD = {
    "campaign": "DELETE",
    "campaign_revision": "UPDATE, DELETE",
    "viewer": "DELETE",
    "enrolment": "UPDATE, DELETE",
    "uncounted": "UPDATE, DELETE",
    "live_room_action": "UPDATE, DELETE",
    "verdict_count": "DELETE",
    "credited_days_count": "DELETE",
    "make_good": "UPDATE, DELETE",
    "platform_count": "DELETE",
    "certificate": "DELETE",
    "feed_heard": "DELETE",
    "viewer_link_given": "UPDATE, DELETE",
}
# Columns of the tables above that the role may change nevertheless.
CHANGING = {"make_good": "granted", "enrolment": "has_contact"}
