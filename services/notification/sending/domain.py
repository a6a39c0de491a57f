"""The statuses of a notification, and the delay before another attempt."""

from datetime import timedelta
from enum import StrEnum
from typing import Final

from services.notification.channels.domain import Report


class Status(StrEnum):
    QUEUED = "queued"  # nothing was sent
    SENDING = "sending"  # the intent is stored, the channel is being called
    UNKNOWN = "unknown"  # the channel was called, and nobody knows what it did; a query or a receipt resolves it
    ACCEPTED = "accepted"  # the channel has taken it over
    DELIVERED = "delivered"
    FAILED = "failed"
    SUPPRESSED = "suppressed"  # was not sent in time, or must not be
    CANCELLED = "cancelled"  # its cause is gone


_FORWARD: Final[dict[Status, tuple[Report, ...]]] = {
    Status.SENDING: (Report.UNKNOWN, Report.ACCEPTED, Report.DELIVERED, Report.FAILED),
    Status.UNKNOWN: (Report.ACCEPTED, Report.DELIVERED, Report.FAILED),
    Status.ACCEPTED: (Report.DELIVERED, Report.FAILED),
}


def after(status: Status, report: Report) -> Status:
    """The status once the channel has reported. Statuses only move forward: queued, sending, unknown, accepted, then final.

    So a final receipt stays even if it arrives before "accepted". The only way back is the channel's report that nothing was
    sent.
    """
    if report is Report.NOT_SENT:
        return Status.QUEUED if status in (Status.SENDING, Status.UNKNOWN) else status
    return Status(report) if report in _FORWARD.get(status, ()) else status


_RETRY_DELAYS_S: Final = (0, 0, 0, 60, 300, 900, 3600)


def retry_delay(attempts: int) -> timedelta:
    """How long to wait after attempt number `attempts`, which certainly sent nothing. There is no wait after the first three
    attempts: then most likely this service has crashed, and the channel is well."""
    return timedelta(seconds=_RETRY_DELAYS_S[min(attempts, len(_RETRY_DELAYS_S)) - 1])


def reason(status: str, stored: str | None, has_channel: bool) -> str | None:
    """A stable slug that says what a message waits for, or what ended it."""
    if status == Status.QUEUED and stored is None and not has_channel:
        return "no_channel"
    return stored
