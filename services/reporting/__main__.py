"""`python -m services.reporting`: serves until SIGTERM."""

from services.reporting.app import build_app
from shared.logging import configure_logging
from shared.service import run
from shared.settings import ServiceSettings

if __name__ == "__main__":
    settings = ServiceSettings()  # type: ignore[call-arg]  # from the environment
    configure_logging("reporting", settings.log_level)
    run(build_app, settings)
