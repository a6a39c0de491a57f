"""The certificate service on a fresh database, without a bus; and the events that it consumes."""

import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import nacl.public
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.certificate import certificates, store
from services.certificate.app import build_app
from services.certificate.keys import Keys
from services.certificate.settings import Settings
from shared.contracts.base import UNASSIGNED, Event
from shared.contracts.certificate import CertificateIssuedV1
from shared.contracts.checkin import CampaignDefinedV1, CheckinRecordedV1, LessonMadeGoodV1, ViewerEnrolledV1
from shared.definitions import Definitions
from shared.ids import new_event_id
from shared.people.campaign_keys import CampaignKeys
from shared.people.sealing import seal, unseal
from shared.service.tokens import Role
from tests.support import service
from tests.support.campaigns import campaign
from tests.support.service import ServiceUnderTest, settings_of, text_of

CAMPAIGN = "small-2024"
CLAIM_FROM = datetime.fromisoformat("2024-06-30T20:00:00+08:00")
BEFORE = CLAIM_FROM - timedelta(seconds=1)
LESSONS = [date(2024, 6, 29), date(2024, 6, 30)]

SIGNING_KEY = Ed25519PrivateKey.generate()
SEALING_KEY, NOTIFICATION_KEY = nacl.public.PrivateKey.generate(), nacl.public.PrivateKey.generate()


def token(role: Role = "office", *, campaign: str = CAMPAIGN, unit: str | None = None) -> str:
    return service.token(role, campaign, unit)


# ---- events ----------------------------------------------------------------------------------------------------------


def defined(revision: int = 1, *, campaign_id: str = CAMPAIGN, pages: int = 1, **changes: Any) -> list[Event]:
    """The pages of a definition; `changes` replace keys of it."""
    rules = campaign(campaign_id=campaign_id, **changes).rules()
    return [
        CampaignDefinedV1(**_head(campaign_id), revision=revision, page=page, pages=pages, rules=rules, units=[])
        for page in range(1, pages + 1)
    ]


def certificate_rules(**changes: Any) -> dict[str, Any]:
    """The part of a definition that is about certificates."""
    rules = {
        "claim_from": CLAIM_FROM.isoformat(),
        "title": "反诈结课证书",
        "body": "{name}参加“{campaign_title}”，累计签到{credited_days}天。",
        "issuer": "示例反诈办",
    }
    return rules | changes


def enrolled(
    *rows: tuple[str, str | None, str | None], at: datetime = BEFORE, campaign_id: str = CAMPAIGN
) -> ViewerEnrolledV1:
    """`rows`: (viewer_id, name, phone); with neither name nor phone it is an enrolment without contact data."""
    viewers = [viewer for viewer, _, _ in rows]
    contacts = [
        json.dumps({"name": name, "phone": phone}).encode() if name or phone else None for _, name, phone in rows
    ]
    return ViewerEnrolledV1(
        **_head(campaign_id, at),
        viewer_ids=viewers,
        enrolment_ids=[f"e-{at.timestamp():.0f}-{n}" for n in range(len(rows))],
        enrolled_at=[at] * len(rows),
        unit_codes=["111"] * len(rows),
        groups=["general"] * len(rows),
        contacts=seal({"certificate": text_of(SEALING_KEY.public_key)}, contacts, viewers) if any(contacts) else None,
    )


def checked_in(*viewers: str, completes: bool = True, campaign_id: str = CAMPAIGN) -> CheckinRecordedV1:
    """Check-ins of the last lesson, by which these viewers complete the course if `completes`."""
    size = len(viewers)
    return CheckinRecordedV1(
        **_head(campaign_id),
        lesson_date=LESSONS[-1],
        mode="live",
        viewer_ids=list(viewers),
        unit_codes=["111-EDU"] * size,
        groups=["student"] * size,
        checked_in_at=[BEFORE] * size,
        late=[False] * size,
        first_for_lesson=[True] * size,
        first_for_campaign=[False] * size,
        credited_days=[2 if completes else 1] * size,
        credited_lessons=[LESSONS if completes else None] * size,
    )


def made_good(*viewers: str, completes: bool = True, campaign_id: str = CAMPAIGN) -> LessonMadeGoodV1:
    size = len(viewers)
    return LessonMadeGoodV1(
        **_head(campaign_id),
        lesson_date=LESSONS[0],
        make_good_id="m-1",
        viewer_ids=list(viewers),
        unit_codes=[UNASSIGNED] * size,
        groups=[UNASSIGNED] * size,
        credited_days=[2 if completes else 1] * size,
        credited_lessons=[LESSONS if completes else None] * size,
    )


def _head(campaign_id: str, at: datetime = BEFORE) -> dict[str, Any]:
    return {"event_id": new_event_id(), "occurred_at": at, "campaign_id": campaign_id}


# ---- the service -----------------------------------------------------------------------------------------------------


class CertificateService(ServiceUnderTest):
    """The service with a clock that stands just before the claim time; calls are made with a token of the office."""

    def __init__(self, database_url: str, folder: Path, **changes: Any) -> None:
        values = settings_of("certificate", database_url, folder, BEFORE) | {
            "database_pool_size": 8,
            "sealing_private_key": text_of(SEALING_KEY),
            "sealing_public_keys": {"notification": text_of(NOTIFICATION_KEY.public_key)},
            "contact_keys": {"k1": text_of(b"1" * 32), "k2": text_of(b"2" * 32)},
            "lookup_key": text_of(b"l" * 32),
            "certificate_signing_key": text_of(SIGNING_KEY.private_bytes_raw()),
            "pdf_dir": folder / "pdf",
        }
        self.settings = Settings(**values | changes)
        super().__init__(build_app(self.settings), caller=token())
        self.keys = Keys.of(self.settings)
        self.definitions = Definitions(lambda in_force: in_force.rules)

    async def sweep(self, now: datetime | None = None) -> int:
        """Issues until nothing is due any more; returns how many certificates. `now`: sets the clock first."""
        if now is not None:
            self.clock_is(now)
        return await self.service.due_work[0].run_until_done(self.service.clock, self.service.metrics)

    async def issue(self, *events: Event) -> None:
        """Defines the campaign, delivers the events and lets the claim time come."""
        await self.deliver(*defined(certificate=certificate_rules()), *events)
        await self.sweep(CLAIM_FROM)

    # ---- what the service holds ----

    async def certificates(self, campaign_id: str = CAMPAIGN) -> list[store.Certificate]:
        """Certificates by viewer, the valid one first."""
        async with self.db.transaction() as tx:
            rows = await tx.fetch(
                f"SELECT {', '.join(store.Certificate._fields)} FROM certificate WHERE campaign_id = $1 "
                "ORDER BY viewer_id, revoked_at DESC NULLS FIRST, serial",
                campaign_id,
            )
        return [store.Certificate(*row) for row in rows]

    async def names(self, campaign_id: str = CAMPAIGN) -> dict[str, str | None]:
        """Names of the valid certificates, by viewer."""
        campaign_keys = await self.keys_to_read(campaign_id)
        return {
            row.viewer_id: certificates.content_of(row, campaign_keys).name
            for row in await self.certificates(campaign_id)
            if row.revoked_at is None
        }

    async def keys_to_read(self, campaign_id: str = CAMPAIGN) -> CampaignKeys:
        async with self.db.transaction() as tx:
            return await self.keys.recipient.keys_to_read(tx, campaign_id)

    async def claim_codes(self) -> dict[str, str]:
        """Each viewer's newest claim code, as notification learns it."""
        return {
            viewer: code
            for event in await self.published(CertificateIssuedV1)
            for viewer, code in open_claim_codes(event)
        }

    async def claim(self, viewer_id: str, phone_tail: str | None = None) -> httpx.Response:
        return await self.post_claim((await self.claim_codes())[viewer_id], phone_tail)

    async def post_claim(self, claim_code: str, phone_tail: str | None = None) -> httpx.Response:
        return await self.client.post("/v1/claims", json={"claim_code": claim_code, "phone_tail": phone_tail})

    async def get_certificate(self, viewer_id: str, **headers: str) -> httpx.Response:
        return await self.client.get(f"/v1/campaigns/{CAMPAIGN}/certificates/{viewer_id}", headers=headers)

    async def revoke(self, viewer_id: str, reason: str = "冒名") -> httpx.Response:
        return await self.client.post(
            f"/v1/campaigns/{CAMPAIGN}/certificates/{viewer_id}/revoke", json={"reason": reason}
        )

    async def reissue(
        self, viewer_id: str, name: str, reason: str = "姓名更正", request_id: str | None = None
    ) -> httpx.Response:
        body = {"name": name, "reason": reason} | ({"request_id": request_id} if request_id else {})
        return await self.client.post(f"/v1/campaigns/{CAMPAIGN}/certificates/{viewer_id}/reissue", json=body)


def open_claim_codes(event: CertificateIssuedV1) -> Sequence[tuple[str, str]]:
    assert event.claim_codes is not None
    codes = unseal(event.claim_codes, "notification", text_of(NOTIFICATION_KEY), event.viewer_ids)
    return [(viewer, code.decode()) for viewer, code in zip(event.viewer_ids, codes, strict=True) if code is not None]


def path_of(url: str) -> str:
    """The path of an answer's link, for the test's own client."""
    return url.removeprefix("http://certificate.test")
