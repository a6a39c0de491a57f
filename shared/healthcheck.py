"""`python -m shared.healthcheck`: exit 0 when this container's service is ready, else 1 with what the service lacks."""

import os
import sys
from http.client import HTTPConnection, HTTPException

TIMEOUT_S = 4  # readiness asks the database for at most 3 s (shared/service/serving.py)


def unready(port: int) -> str | None:
    """None when the service is ready, else what it lacks."""
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        return None if answer.status == 200 else answer.read().decode()
    except (OSError, HTTPException) as error:
        return f"no answer: {error!r}"
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(unready(int(os.environ["PORT"])))
