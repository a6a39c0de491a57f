"""`python -m services.certificate`: serves until SIGTERM."""

from services.certificate.app import build_app
from services.certificate.settings import Settings
from shared.service import run

if __name__ == "__main__":
    run("certificate", build_app, Settings)
