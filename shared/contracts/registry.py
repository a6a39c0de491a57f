"""The one list of event contracts. A contract that is not here does not exist."""

from shared.contracts.base import Event
from shared.contracts.certificate import (
    CertificateClaimedV1,
    CertificateIssuedV1,
    CertificateKeyMadeV1,
    CertificateRevokedV1,
)
from shared.contracts.checkin import (
    CampaignDefinedV1,
    CheckinRecordedV1,
    FormsDefinedV1,
    LessonMadeGoodV1,
    LiveRoomActionsRecordedV1,
    ViewerEnrolledV1,
    ViewerReassignedV1,
)
from shared.contracts.notification import NotificationKeyMadeV1
from shared.contracts.reporting import (
    LiaisonNamedV1,
    PersonChangedV1,
    ReportDueSoonV1,
    ReportExcusedV1,
    ReportOverdueV1,
    ReportReturnedV1,
    ReportSubmittedV1,
    SessionEndedV1,
)

EVENTS: tuple[type[Event], ...] = (
    CampaignDefinedV1,
    FormsDefinedV1,
    ViewerEnrolledV1,
    ViewerReassignedV1,
    CheckinRecordedV1,
    LessonMadeGoodV1,
    LiveRoomActionsRecordedV1,
    CertificateIssuedV1,
    CertificateClaimedV1,
    CertificateRevokedV1,
    CertificateKeyMadeV1,
    NotificationKeyMadeV1,
    PersonChangedV1,
    SessionEndedV1,
    ReportSubmittedV1,
    ReportExcusedV1,
    ReportReturnedV1,
    ReportDueSoonV1,
    ReportOverdueV1,
    LiaisonNamedV1,
)

BY_SUBJECT: dict[str, type[Event]] = {event.subject(): event for event in EVENTS}
