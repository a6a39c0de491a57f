"""What a holder downloads: short-lived links, and the PDF, rendered when first asked for and kept encrypted."""

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jwt
import structlog
from cryptography.exceptions import InvalidTag

from services.certificate import store
from services.certificate.domain import CertificateContent
from services.certificate.renderer import DEFAULT_WORDING, Renderer, Wording
from shared.contracts.campaign import CampaignRules
from shared.people.at_rest import Vault, lookup_hash
from shared.service.problems import Problem
from shared.whole_files import WholeFiles

log = structlog.get_logger()

LINK_VALID_FOR = timedelta(minutes=30)
_AUDIENCE = "certificate-file"


class Links:
    """Signed links to one certificate's files. They expire by wall time, whatever a simulated clock says."""

    def __init__(self, public_url: str, lookup_key: str) -> None:
        self._public_url = public_url
        self._key = lookup_hash(lookup_key, _AUDIENCE)  # a key of its own, derived

    def to(self, serial: str) -> dict[str, str]:
        expires = datetime.now(UTC) + LINK_VALID_FOR
        token = jwt.encode({"sub": serial, "aud": _AUDIENCE, "exp": expires}, self._key, algorithm="HS256")
        base = f"{self._public_url}/files/{token}"
        return {"pdf_url": f"{base}/certificate.pdf", "json_url": f"{base}/certificate.json"}

    def serial_of(self, token: str) -> str:
        """Raises a 404 problem for a link that is not ours or has expired."""
        try:
            claims: dict[str, Any] = jwt.decode(token, self._key, algorithms=["HS256"], audience=_AUDIENCE)
        except jwt.InvalidTokenError as error:
            raise Problem(404, "link-expired", "下载链接无效或已过期，请凭领取码重新领取") from error
        return str(claims["sub"])


class Pdfs:
    """Rendered certificates in a folder, encrypted. Deleting any of it loses nothing."""

    def __init__(self, folder: Path, renderer: Renderer) -> None:
        self._folder = folder
        self._files = WholeFiles(folder, formerly="??/tmp*")
        self._renderer = renderer

    async def of(
        self, row: store.Certificate, content: CertificateContent, rules: CampaignRules | None, vault: Vault
    ) -> bytes:
        """`vault`: of the certificate's campaign."""
        return await asyncio.to_thread(self._cached, row, content, _Presentation.of(rules), vault)

    def _cached(
        self, row: store.Certificate, content: CertificateContent, look: "_Presentation", vault: Vault
    ) -> bytes:
        # What changes the PDF is in its name: the holder's name by the signature, the campaign's wording by its hash.
        path = self._folder / row.serial[:2] / f"{row.serial}-{row.signature[:4].hex()}-{look.digest()}"
        try:
            return vault.decrypt_bytes(path.read_bytes(), row.serial)
        except (OSError, KeyError, InvalidTag):  # not there, by a key that is gone, or damaged
            pdf = self._renderer.render(
                content,
                code=row.code,
                key_id=row.key_id,
                wording=look.wording,
                lesson_titles=look.lesson_titles,
                time_zone=look.zone,
            )
        self._keep(path, vault.encrypt_bytes(pdf, row.serial))
        return pdf

    def _keep(self, path: Path, sealed: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files.write(path, sealed)
        except OSError as error:
            log.warning("a certificate's PDF is not kept; it is rendered again next time", error=error.strerror)


@dataclass(frozen=True)
class _Presentation:
    """What the campaign contributes to a PDF."""

    wording: Wording
    lesson_titles: dict[date, str]
    zone: ZoneInfo

    @classmethod
    def of(cls, rules: CampaignRules | None) -> "_Presentation":
        if rules is None:
            return cls(DEFAULT_WORDING, {}, ZoneInfo("Asia/Shanghai"))
        wording = Wording(rules.certificate.title, rules.certificate.body)
        return cls(wording, {lesson.date: lesson.title for lesson in rules.lessons}, rules.zone)

    def digest(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:8]
