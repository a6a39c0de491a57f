"""Facts that the notification service owns."""

from typing import ClassVar

from shared.contracts.base import CampaignKeyMade


class NotificationKeyMadeV1(CampaignKeyMade):
    """notification has a key of its own for a campaign."""

    OWNER: ClassVar[str] = "notification"
    FACT: ClassVar[str] = "notification_key_made"
