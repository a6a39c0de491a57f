"""Two kinds of link to a certificate: to its holder's files, signed, for 30 minutes and for this certificate only; and to its
public page, which lasts as long as the certificate."""

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from shared.people.at_rest import lookup_hash
from shared.service.refusals import Refused

VALID_FOR = timedelta(minutes=30)  # the claim page names this time
_AUDIENCE = "certificate-file"


class Links:
    """Signed links to one certificate's files. They expire by wall time, whatever a simulated clock says."""

    def __init__(self, public_url: str, lookup_key: str, valid_for: timedelta = VALID_FOR) -> None:
        self._public_url = public_url
        self._key = lookup_hash(lookup_key, _AUDIENCE)  # a key derived for links alone
        self._valid_for = valid_for

    def to(self, serial: str) -> dict[str, str]:
        """Links to the certificate's files, by the field of the answer that names them."""
        base = f"{self._public_url}/{self.folder(serial)}"
        return {
            "pdf_url": f"{base}/certificate.pdf",
            "picture_url": f"{base}/certificate.png",
            "json_url": f"{base}/certificate.json",
        }

    def folder(self, serial: str) -> str:
        """The path, below the public address, that the certificate's files stand under."""
        expires = datetime.now(UTC) + self._valid_for
        token = jwt.encode({"sub": serial, "aud": _AUDIENCE, "exp": expires}, self._key, algorithm="HS256")
        return f"files/{token}"

    def page(self, code: str) -> str:
        """The address of the page behind the QR, which shows a masked holder. It works as long as the certificate exists."""
        return f"{self._public_url}/v/{code}"

    def serial_of(self, token: str) -> str:
        """The serial that the link leads to. Raises `Refused` for a link that is not ours or has expired."""
        try:
            claims: dict[str, Any] = jwt.decode(token, self._key, algorithms=["HS256"], audience=_AUDIENCE)
        except jwt.InvalidTokenError as error:
            raise Refused("link-expired") from error
        return str(claims["sub"])
