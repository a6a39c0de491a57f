"""Checks what people get: messages, certificates as PDF and JSON, the page behind the QR code."""

import asyncio
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

from pypdf import PdfReader

from demo.check_databases import connect
from demo.comparison import Check
from demo.expectation import Expectation
from demo.office import CLAIM_CODE, SERIAL
from demo.people import SPECIAL_NAMES
from demo.player import Player


class Certificates:
    def __init__(self, player: Player, expectation: Expectation, claimed: Sequence[str]) -> None:
        self._player = player
        self._expectation = expectation
        self._campaign = expectation.campaign
        self._claimed = claimed
        self.pdfs: list[Path] = []
        self.page = ""  # the page of the first certificate fetched: an ordinary name with a rare character
        self.claim_page = f"{player.addresses.urls['certificate']}/claim"
        self.to_claim = ("", "")  # claim code and phone tail of a certificate that nobody has claimed yet

    async def check(self) -> list[Check]:
        return [await self._messages(), *await self._certificates()]

    async def _messages(self) -> Check:
        """Checks every message's recipient, and its text word by word."""
        check = Check("messages: recipient and text")
        connection = await connect(self._player.home, "certificate")
        try:
            rows = await connection.fetch("SELECT serial, viewer_id, issued_at FROM certificate")
        finally:
            await connection.close()
        holders = {row["serial"]: (row["viewer_id"], row["issued_at"]) for row in rows}
        folder = self._player.home.messages / self._campaign.id / "certificate_ready"
        issued: Counter[tuple[Any, ...]] = Counter()
        for path in folder.glob("*.txt"):
            head, _, text = path.read_text(encoding="utf-8").partition("\n\n")
            serial, code = SERIAL.search(text), CLAIM_CODE.search(text)
            holder = holders.get(serial[1] if serial else "", ("nobody", None))
            told = {
                "campaign_title": self._campaign.title,
                "serial": serial and serial[1],
                "claim_code": code and code[1],
                "claim_page": f"{self._player.addresses.urls['certificate']}/claim",
            }
            check.equal(path.name, self._campaign.template.format(**told), text.strip())
            issued[*holder, head.removeprefix("To: ")] += 1
        delivered = [
            certificate for certificate in self._expectation.certificates if certificate.message.status == "delivered"
        ]
        check.same(
            Counter(
                (certificate.viewer_id, certificate.issued_at.astimezone(UTC), certificate.message.to)
                for certificate in delivered
            ),
            issued,
        )
        return check

    async def _certificates(self) -> list[Check]:
        """Fetches, reads and verifies the certificates with odd names."""
        pdfs, verified = (
            Check("certificates: name and serial in the PDF"),
            Check("certificates: public page and verify"),
        )
        valid = self._expectation.valid()
        special = [viewer_id for viewer_id in sorted(self._claimed) if int(viewer_id[3:]) < len(SPECIAL_NAMES)]
        others = [viewer_id for viewer_id in sorted(self._claimed) if viewer_id not in special]
        for viewer_id in (*special, *others[:2]):
            if viewer_id not in valid:
                continue
            of_viewer = f"/v1/campaigns/{self._campaign.id}/certificates/{viewer_id}"
            held = await self._player.ask("GET", "certificate", of_viewer)
            self.page = self.page or f"{self._player.addresses.urls['certificate']}/v/{held['code']}"
            verified.equal((viewer_id, "claimed"), valid[viewer_id].claimed, held["claimed_at"] is not None)
            answer = {"claim_code": held["claim_code"], "phone_tail": self._expectation.phone_tail(viewer_id)}
            claim = await self._player.ask("POST", "certificate", "/v1/claims", json=answer)
            pdf = (await self._player.fetch("GET", claim["pdf_url"])).content
            path = self._player.home.certificates / f"{held['serial']}.pdf"
            path.write_bytes(pdf)
            self.pdfs.append(path)
            text = await asyncio.to_thread(_pdf_text, pdf)
            name = valid[viewer_id].name or viewer_id
            for part in (name, held["serial"]):
                pdfs.equal((viewer_id, part), True, _packed(part) in _packed(text))
            await self._verify(verified, viewer_id, held, claim["json_url"], name)
        self.to_claim = await self._unclaimed()
        unknown = await self._player.fetch("GET", "certificate", f"/v/{'2' * 26}")
        verified.equal("page of no certificate", 404, unknown.status_code)
        return [pdfs, verified]

    async def _unclaimed(self) -> tuple[str, str]:
        for viewer_id, certificate in sorted(self._expectation.valid().items()):
            if not certificate.claimed and (tail := self._expectation.phone_tail(viewer_id)):
                of_viewer = f"/v1/campaigns/{self._campaign.id}/certificates/{viewer_id}"
                return (await self._player.ask("GET", "certificate", of_viewer))["claim_code"], tail
        return "", ""

    async def _verify(self, check: Check, viewer_id: str, held: Mapping[str, str], json_url: str, name: str) -> None:
        page = await self._player.fetch("GET", "certificate", f"/v/{held['code']}")
        check.equal((viewer_id, "page"), 200, page.status_code)
        check.equal((viewer_id, "full name on the page"), False, name in page.text)
        by_serial = await self._player.ask("POST", "certificate", "/v1/verify", json={"serial": held["serial"].lower()})
        check.equal((viewer_id, "serial"), (True, "valid"), (by_serial["genuine"], by_serial["status"]))
        document = (await self._player.fetch("GET", json_url)).json()
        genuine = await self._player.ask("POST", "certificate", "/v1/verify", json=document)
        check.equal((viewer_id, "file"), (True, "valid"), (genuine["genuine"], genuine["status"]))
        check.equal(
            (viewer_id, "lessons"),
            [day.isoformat() for day in self._campaign.days],
            document["content"]["credited_lessons"],
        )
        document["content"]["name"] = "别人"
        altered = await self._player.ask("POST", "certificate", "/v1/verify", json=document)
        check.equal((viewer_id, "altered file"), (False, "altered"), (altered["genuine"], altered["status"]))


def _pdf_text(pdf: bytes) -> str:
    return "".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)


def _packed(text: str) -> str:
    return re.sub(r"\s", "", text)
