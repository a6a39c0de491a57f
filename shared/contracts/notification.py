"""Facts that the notification service owns."""

from typing import ClassVar

from shared.contracts.base import CampaignKeyMade


class NotificationKeyMadeV1(CampaignKeyMade):
    """notification has made its key for a campaign. The event carries the public half, to which contacts and claim codes
    are sealed."""

    OWNER: ClassVar[str] = "notification"
    FACT: ClassVar[str] = "notification_key_made"
