"""How long a Postgres session may take over what, for jobs that are not a service (shared/db.py has the services' own).

Every role of a service has limits by itself (deploy/postgres/provision.sql). A job that needs other ones says them, each with its
reason, where it opens its connection. Values are Postgres's own: `30s`, `6h`, and `0` for none.
"""

from typing import NamedTuple


class Limits(NamedTuple):
    statement: str  # one statement, the time it waits for locks included
    lock: str  # waiting for one lock: whoever waits for a table makes everybody behind it wait too
    idle: str  # standing still inside a transaction, which holds its locks and keeps dead rows
    transaction: str  # all of a transaction
    unanswered: str = "2min"  # data that the other side does not take: it is gone, or stands still

    def settings(self) -> dict[str, str]:
        """As `server_settings` of a connection."""
        return {
            "statement_timeout": self.statement,
            "lock_timeout": self.lock,
            "idle_in_transaction_session_timeout": self.idle,
            "transaction_timeout": self.transaction,
            "tcp_user_timeout": self.unanswered,
        }
