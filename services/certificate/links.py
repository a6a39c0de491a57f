"""Links to a certificate: to its holder's files, signed, short-lived and of no use for another certificate; and to its public
page, for as long as the certificate is there."""

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from shared.people.at_rest import lookup_hash
from shared.service.refusals import Refused

VALID_FOR = timedelta(minutes=30)  # the claim page says so
_AUDIENCE = "certificate-file"


class Links:
    """Signed links to one certificate's files. They expire by wall time, whatever a simulated clock says."""

    def __init__(self, public_url: str, lookup_key: str, valid_for: timedelta = VALID_FOR) -> None:
        self._public_url = public_url
        self._key = lookup_hash(lookup_key, _AUDIENCE)  # derived, so that links have a key of their own
        self._valid_for = valid_for

    def to(self, serial: str) -> dict[str, str]:
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
        """The page behind the QR, which shows a masked holder. It ends with its certificate, not before."""
        return f"{self._public_url}/v/{code}"

    def serial_of(self, token: str) -> str:
        """The serial that the link leads to. Raises `Refused` for a link that is not ours or has expired."""
        try:
            claims: dict[str, Any] = jwt.decode(token, self._key, algorithms=["HS256"], audience=_AUDIENCE)
        except jwt.InvalidTokenError as error:
            raise Refused("link-expired") from error
        return str(claims["sub"])
