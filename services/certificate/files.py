"""Certificates drawn as PDF or picture by renderer.py: rendered when first asked for, then kept in encrypted files."""

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
from services.certificate.renderer import DEFAULT_WORDING, Renderer, Shape, Wording
from shared.contracts.campaign import CampaignRules
from shared.people.at_rest import Vault
from shared.whole_files import WholeFiles

log = structlog.get_logger()


class Drawings:
    """Rendered certificates in a folder, encrypted. Any file may be deleted: it is rendered again when it is asked for."""

    def __init__(self, folder: Path, renderer: Renderer) -> None:
        self._folder = folder
        self._files = WholeFiles(folder, formerly="??/tmp*")
        self._renderer = renderer
        self.incomplete = 0  # drawings by this process that lack a character of the holder's name

    async def of(
        self,
        shape: Shape,
        row: store.Certificate,
        content: CertificateContent,
        rules: CampaignRules | None,
        vault: Vault,
    ) -> bytes:
        """The certificate in this shape. `vault`: that of the certificate's campaign."""
        return await asyncio.to_thread(self._cached, shape, row, content, _Presentation.of(rules), vault)

    def _cached(
        self,
        shape: Shape,
        row: store.Certificate,
        content: CertificateContent,
        presentation: "_Presentation",
        vault: Vault,
    ) -> bytes:
        # The file's name changes with everything that changes the drawing: the signature stands for the certificate's content,
        # two hashes for what campaign and deployment contribute. Erasure finds the file by the serial.
        name = f"{row.serial}-{row.signature[:4].hex()}-{presentation.digest()}-{self._renderer.look}.{shape}"
        path = self._folder / row.serial[:2] / name
        try:
            return vault.decrypt_bytes(path.read_bytes(), row.serial)
        except (OSError, KeyError, InvalidTag):  # not there, encrypted under a key that is gone, or damaged
            drawn = self._renderer.render(
                content,
                shape,
                code=row.code,
                wording=presentation.wording,
                lesson_titles=presentation.lesson_titles,
                time_zone=presentation.zone,
            )
        if shape is not Shape.PREVIEW and (missing := self.missing_characters(content)):
            self.incomplete += 1
            log.warning("characters of a name are in no font", serial=row.serial, characters=len(missing))
        self._keep(path, vault.encrypt_bytes(drawn, row.serial))
        return drawn

    def missing_characters(self, content: CertificateContent) -> str:
        """The characters of the holder's name that no font has; 〓 is drawn in their place."""
        return self._renderer.missing_characters(content.name or "")

    def _keep(self, path: Path, sealed: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files.write(path, sealed)
        except OSError as error:
            log.warning("a drawn certificate is not kept; it is rendered again next time", error=error.strerror)


@dataclass(frozen=True)
class _Presentation:
    """What the campaign contributes to a drawing."""

    wording: Wording
    lesson_titles: dict[date, str]
    zone: ZoneInfo

    @classmethod
    def of(cls, rules: CampaignRules | None) -> "_Presentation":
        if rules is None or rules.certificate is None:
            return cls(DEFAULT_WORDING, {}, ZoneInfo("Asia/Shanghai"))
        wording = Wording(rules.certificate.title, rules.certificate.body)
        return cls(wording, {lesson.date: lesson.title for lesson in rules.lessons}, rules.zone)

    def digest(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:8]
