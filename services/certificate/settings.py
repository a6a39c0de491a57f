"""Settings of certificate (shared ones: shared/settings.py)."""

from pathlib import Path

from pydantic import Field

from shared.os_errors import os_reason
from shared.settings import ServiceSettings

PNG = b"\x89PNG\r\n\x1a\n"
SEAL_MAX_BYTES = 1024 * 1024  # it is in every PDF: drawing one takes 45 ms with 1 MiB, 14 with 100 KiB, 9 without


class Settings(ServiceSettings):
    sealing_private_key: str = Field(description="opens names and phones sealed for certificate (base64)", repr=False)
    sealing_public_keys: dict[str, str] = Field(description="who may read claim codes: notification")
    contact_keys: dict[str, str] = Field(description="AES-256 keys by id (base64); the last one encrypts", repr=False)
    lookup_key: str = Field(description="finds claim codes without keeping them in clear (base64)", repr=False)
    certificate_signing_key: str = Field(description="Ed25519, raw, base64", repr=False)
    pdf_dir: Path = Field(description="rendered certificates, encrypted; can be deleted at any time")
    font_dir: Path | None = Field(default=None, description="further fonts, for names that ours lack characters of")
    seal_image: Path | None = Field(default=None, description="the deployer's seal (PNG); an empty file is none")

    def seal(self) -> bytes | None:
        """The seal's PNG; None where none is set or the file is empty. Raises ValueError, saying what to do, for a file that
        cannot be read, is no PNG or is too large: a service must not start without the seal that it should have."""
        if self.seal_image is None:
            return None
        try:
            content = self.seal_image.read_bytes()
        except OSError as error:
            raise ValueError(
                f"印章 SEAL_IMAGE 读不了（{os_reason(error)}）：.env 里写一个 PNG 文件，容器用户能读"
            ) from error
        if content and not content.startswith(PNG):
            raise ValueError("印章 SEAL_IMAGE 不是 PNG 文件：请转成 PNG，最好是透明底")
        if len(content) > SEAL_MAX_BYTES:
            raise ValueError("印章 SEAL_IMAGE 超过 1 MiB：请把宽度缩小到 600 像素以内")
        return content or None
