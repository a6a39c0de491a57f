"""Makes events as checkin and certificate publish them, from as few arguments as a test needs."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from shared.contracts.base import Mode
from shared.contracts.certificate import CertificateClaimedV1, CertificateIssuedV1, CertificateRevokedV1
from shared.contracts.checkin import (
    CampaignDefinedV1,
    CheckinRecordedV1,
    LessonMadeGoodV1,
    LiveRoomAction,
    LiveRoomActionsRecordedV1,
    ViewerReassignedV1,
)
from shared.ids import new_event_id
from tests.support.campaigns import campaign, unit

AT = datetime(2024, 6, 29, 11, 31, tzinfo=UTC)
DAY_1, DAY_2 = date(2024, 6, 29), date(2024, 6, 30)

Place = tuple[str, str]  # unit code and group

CITY_RESIDENTS = {"count": 2_000_000, "year": 2020, "source": "普查"}
COUNTY_RESIDENTS = {"count": 500_000, "year": 2016, "source": "年鉴"}
TREE = [
    unit("14", None, "province"),
    unit("1409", "14", "city", residents=CITY_RESIDENTS),
    unit("1409-DEP", "1409", "unit"),
    unit("140902", "1409", "county", residents=COUNTY_RESIDENTS),
    unit("140902-EDU", "140902", "unit"),
    unit("140902-EDU-1", "140902-EDU", "unit"),
    unit("140921", "1409", "county"),
    unit("140921-FIN", "140921", "unit"),
    unit("1401", "14", "city"),
    unit("140105", "1401", "county"),
]


def meta(campaign_id: str) -> dict[str, Any]:
    return {"event_id": new_event_id(), "occurred_at": AT, "campaign_id": campaign_id}


def defined(campaign_id: str, *, revision: int = 1, **changes: Any) -> list[CampaignDefinedV1]:
    """The definition of a small campaign in two pages; `changes` replace its top-level keys."""
    definition = campaign(campaign_id=campaign_id, **({"units": TREE, "channels": {}} | changes))
    units = [unit for page in definition.unit_pages() for unit in page]
    half = len(units) // 2
    return [
        CampaignDefinedV1(
            **meta(campaign_id), revision=revision, page=page, pages=2, rules=definition.rules(), units=part
        )
        for page, part in ((1, units[:half]), (2, units[half:]))
    ]


def checkins(
    campaign_id: str,
    places: Sequence[Place],
    *,
    lesson: date = DAY_1,
    mode: Mode = "live",
    late: bool = False,
    first_for_lesson: bool = True,
    first_for_campaign: bool = True,
    source: str | None = None,
) -> CheckinRecordedV1:
    """One check-in for each place, by viewers v0, v1, …"""
    count = len(places)
    return CheckinRecordedV1(
        **meta(campaign_id),
        lesson_date=lesson,
        mode=mode,
        source=source,
        viewer_ids=[f"v{number}" for number in range(count)],
        unit_codes=[unit_code for unit_code, _ in places],
        groups=[group for _, group in places],
        checked_in_at=[AT] * count,
        late=[late] * count,
        first_for_lesson=[first_for_lesson] * count,
        first_for_campaign=[first_for_campaign] * count,
        credited_days=[1] * count,
        credited_lessons=[None] * count,
    )


def made_good(campaign_id: str, places: Sequence[Place], *, lesson: date = DAY_1) -> LessonMadeGoodV1:
    count = len(places)
    return LessonMadeGoodV1(
        **meta(campaign_id),
        lesson_date=lesson,
        make_good_id="mg-1",
        viewer_ids=[f"v{number}" for number in range(count)],
        unit_codes=[unit_code for unit_code, _ in places],
        groups=[group for _, group in places],
        credited_days=[1] * count,
        credited_lessons=[None] * count,
    )


def moved(campaign_id: str, viewer_id: str, came_from: Place, goes_to: Place) -> ViewerReassignedV1:
    """The move of a viewer with one live check-in on the first day."""
    return ViewerReassignedV1(
        **meta(campaign_id),
        viewer_ids=[viewer_id],
        lesson_dates=[DAY_1],
        modes=["live"],
        late=[False],
        first_for_lesson=[True],
        first_for_campaign=[True],
        from_unit_codes=[came_from[0]],
        from_groups=[came_from[1]],
        to_unit_codes=[goes_to[0]],
        to_groups=[goes_to[1]],
        enrolled_at=[AT],
        enrolment_ids=["e-1"],
    )


def live_room(
    campaign_id: str,
    places: Sequence[Place],
    action: LiveRoomAction,
    item: str | None = None,
    *,
    lesson: date = DAY_1,
) -> LiveRoomActionsRecordedV1:
    count = len(places)
    return LiveRoomActionsRecordedV1(
        **meta(campaign_id),
        lesson_date=lesson,
        action=action,
        viewer_ids=[f"v{number}" for number in range(count)],
        unit_codes=[unit_code for unit_code, _ in places],
        groups=[group for _, group in places],
        happened_at=[AT] * count,
        items=[item] * count,
    )


def issued(campaign_id: str, places: Sequence[Place]) -> CertificateIssuedV1:
    """Certificates S-0, S-1, … of viewers v0, v1, …"""
    count = len(places)
    return CertificateIssuedV1(
        **meta(campaign_id),
        viewer_ids=[f"v{number}" for number in range(count)],
        serials=[f"S-{number}" for number in range(count)],
        unit_codes=[unit_code for unit_code, _ in places],
        groups=[group for _, group in places],
        issued_at=[AT] * count,
    )


def claimed(campaign_id: str, *numbers: int) -> CertificateClaimedV1:
    return CertificateClaimedV1(
        **meta(campaign_id),
        viewer_ids=[f"v{number}" for number in numbers],
        serials=[f"S-{number}" for number in numbers],
        claimed_at=[AT] * len(numbers),
    )


def revoked(campaign_id: str, *numbers: int) -> CertificateRevokedV1:
    return CertificateRevokedV1(
        **meta(campaign_id),
        viewer_ids=[f"v{number}" for number in numbers],
        serials=[f"S-{number}" for number in numbers],
        revoked_at=[AT] * len(numbers),
        reasons=["name corrected"] * len(numbers),
        reissued_as=[None] * len(numbers),
    )
