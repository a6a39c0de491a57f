"""What certificate tells upkeep/agreement.py, which compares notification's texts with it."""

from services.certificate.store import unknown_serials

__all__ = ["unknown_serials"]
