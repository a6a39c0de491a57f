"""What upkeep/agreement.py asks of certificate, to find texts of notification about certificates that do not exist."""

from services.certificate.store import unknown_serials

__all__ = ["unknown_serials"]
