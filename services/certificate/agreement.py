"""What notification's texts are held against (upkeep/agreement.py)."""

from services.certificate.store import unknown_serials

__all__ = ["unknown_serials"]
