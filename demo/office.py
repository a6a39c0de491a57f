"""What people do with certificates: viewers claim them with what their message says, the office corrects and revokes."""

import random
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from demo.deliveries import MakeGood
from demo.expectation import Expectation
from demo.people import SPECIAL_NAMES
from demo.player import Player, call, until_answered

CLAIMING_SHARE = 0.6
WRONG_CLAIMS = 3  # ten in a minute and the address has to wait
CLAIM_CODE = re.compile(r"领取码 ([0-9A-Z]{8})")
SERIAL = re.compile(r"证书编号 ([0-9A-Z-]{14})")
CORRECTED_NAME = "更正霁禾"


class Office:
    """Tells the expectation everything that it does. An action whose answer may have been lost in a crash is repeated only after
    asking whether it was done."""

    def __init__(self, player: Player, expectation: Expectation, seed: int) -> None:
        self._player = player
        self._expectation = expectation
        self._rng = random.Random(seed)  # noqa: S311 - chooses who claims
        self._campaign_id = expectation.campaign.id
        self._wrong = 0
        self.claimed: list[str] = []

    async def make_good(self, decision: MakeGood) -> None:
        body = {
            "make_good_id": decision.id,
            "lesson_date": decision.lesson_date.isoformat(),
            "reason": decision.reason,
            "viewer_ids": decision.viewer_ids,
            "checked_in_on": [day.isoformat() for day in decision.checked_in_on],
        }
        if not decision.viewer_ids:
            return
        await self._player.ask("POST", "checkin", f"/v1/campaigns/{self._campaign_id}/make-goods", json=body)
        self._expectation.make_good(decision)

    async def certificates(self, now: datetime, *, corrections: bool) -> None:
        """Some of the viewers who can claim do so; with `corrections` the office also replaces two certificates and revokes
        one."""
        texts = read_messages(self._player.home.messages / self._campaign_id / "certificate_ready")
        for viewer_id, certificate in sorted(self._expectation.valid().items()):
            special = self._is_special(viewer_id)
            if certificate.claimed or not (special or self._rng.random() < CLAIMING_SHARE):
                continue
            told = await self._player.ask("GET", "certificate", self._path(viewer_id))
            code = texts.get(told["serial"], told["claim_code"])  # without a message, the office tells the code
            await self._claim(viewer_id, code, self._expectation.phone_tail(viewer_id))
        if corrections:
            await self._correct(now)

    async def _claim(self, viewer_id: str, code: str, tail: str | None) -> None:

        async def claim(code: str, tail: str | None, status: int) -> Any:
            answer = {"claim_code": code, "phone_tail": tail}
            return await self._player.ask("POST", "certificate", "/v1/claims", status=status, json=answer)

        if self._wrong < WRONG_CLAIMS:
            self._wrong += 1
            await claim("ZZZZZZZZ", "0000", 404)
            if tail:
                await claim(code, f"{(int(tail) + 1) % 10_000:04}", 403)
        await claim(f"{code[:4].lower()}-{code[4:]}", tail, 200)
        self.claimed.append(viewer_id)
        self._expectation.claimed(viewer_id)

    async def _correct(self, now: datetime) -> None:
        valid = self._expectation.valid()
        ordinary = sorted(viewer_id for viewer_id in valid if not self._is_special(viewer_id))
        claimed = [viewer_id for viewer_id in ordinary if valid[viewer_id].claimed]
        unclaimed = [viewer_id for viewer_id in ordinary if not valid[viewer_id].claimed]
        for viewer_id in (*claimed[:1], *unclaimed[:1]):
            await self._reissue(viewer_id, now)
        for viewer_id in unclaimed[1:2]:
            await self._revoke(viewer_id)

    async def _reissue(self, viewer_id: str, now: datetime) -> None:
        before = (await self._player.ask("GET", "certificate", self._path(viewer_id)))["serial"]
        body = {"name": CORRECTED_NAME, "reason": "姓名更正"}
        await self._once(viewer_id, "reissue", body, lambda now: now["serial"] != before)
        self._expectation.reissued(viewer_id, CORRECTED_NAME, now)

    async def _revoke(self, viewer_id: str) -> None:
        await self._once(viewer_id, "revoke", {"reason": "冒名报名"}, lambda now: now["status"] == "revoked")
        self._expectation.revoked(viewer_id)

    async def _once(
        self, viewer_id: str, what: str, body: dict[str, str], is_done: Callable[[dict[str, str]], bool]
    ) -> None:
        """Does an action once: before each try it asks whether the action was done, because the last try's answer may have been
        lost."""
        path, headers = self._path(viewer_id), self._player.admin

        async def attempt() -> None:
            url = f"{self._player.addresses.urls['certificate']}{path}"
            known = await call(self._player.http, "GET", url, headers=headers)
            if not is_done(known.json()):
                await call(self._player.http, "POST", f"{url}/{what}", headers=headers, json=body)

        await until_answered(attempt)

    def _path(self, viewer_id: str) -> str:
        return f"/v1/campaigns/{self._campaign_id}/certificates/{viewer_id}"

    @staticmethod
    def _is_special(viewer_id: str) -> bool:
        return int(viewer_id.rpartition("_")[2]) < len(SPECIAL_NAMES)


def read_messages(folder: Path) -> dict[str, str]:
    """Claim code by serial, as the messages of the file channel tell it."""
    codes: dict[str, str] = {}
    for path in sorted(folder.glob("*.txt")):
        text = path.read_text(encoding="utf-8")
        serial, code = SERIAL.search(text), CLAIM_CODE.search(text)
        if serial and code:
            codes[serial[1]] = code[1]
    return codes
