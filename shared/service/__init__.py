"""What every service has: one app with health, metrics, tokens and problem details (`build_service`), run as one process."""

from shared.service.serving import Service, build_service, database_of, run

__all__ = ["Service", "build_service", "database_of", "run"]
