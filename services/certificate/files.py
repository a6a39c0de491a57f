"""The PDF that a holder downloads (by a link of links.py): rendered when first asked for and kept encrypted."""

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog
from cryptography.exceptions import InvalidTag

from services.certificate import store
from services.certificate.domain import CertificateContent
from services.certificate.renderer import DEFAULT_WORDING, Renderer, Wording
from shared.contracts.campaign import CampaignRules
from shared.people.at_rest import Vault
from shared.whole_files import WholeFiles

log = structlog.get_logger()


class Pdfs:
    """Rendered certificates in a folder, encrypted. Any file may be deleted: it is rendered again when it is asked for."""

    def __init__(self, folder: Path, renderer: Renderer) -> None:
        self._folder = folder
        self._files = WholeFiles(folder, formerly="??/tmp*")
        self._renderer = renderer
        self.incomplete = 0  # PDFs rendered by this process that lack a character of their holder

    async def of(
        self, row: store.Certificate, content: CertificateContent, rules: CampaignRules | None, vault: Vault
    ) -> bytes:
        """The certificate's PDF. `vault`: that of the certificate's campaign."""
        return await asyncio.to_thread(self._cached, row, content, _Presentation.of(rules), vault)

    def _cached(
        self, row: store.Certificate, content: CertificateContent, look: "_Presentation", vault: Vault
    ) -> bytes:
        # What changes the PDF is in its name: the holder's name by the signature, wording and further fonts by their hash.
        path = (
            self._folder
            / row.serial[:2]
            / f"{row.serial}-{row.signature[:4].hex()}-{look.digest()}{self._renderer.fonts_given}"
        )
        try:
            return vault.decrypt_bytes(path.read_bytes(), row.serial)
        except (OSError, KeyError, InvalidTag):  # not there, encrypted under a key that is gone, or damaged
            pdf = self._renderer.render(
                content,
                code=row.code,
                key_id=row.key_id,
                wording=look.wording,
                lesson_titles=look.lesson_titles,
                time_zone=look.zone,
            )
        if missing := self.missing_characters(content):
            self.incomplete += 1
            log.warning("characters of a name are in no font", serial=row.serial, characters=len(missing))
        self._keep(path, vault.encrypt_bytes(pdf, row.serial))
        return pdf

    def missing_characters(self, content: CertificateContent) -> str:
        """Of the holder's name those that no font has: 〓 stands for them in the PDF."""
        return self._renderer.missing_characters(content.name or "")

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
