"""`python -m services.notification`"""

from services.notification.app import NAME, build_app
from services.notification.settings import Settings
from shared.logging import configure_logging
from shared.service import run

settings = Settings()  # type: ignore[call-arg]  # from the environment
configure_logging(NAME, settings.log_level)
run(build_app, settings)
