"""A dev stack of servers alone for a restore, `fanzha up --servers-only`: Postgres and NATS run, and no service does."""

import sys

from devstack import ports
from devstack.home import Home
from devstack.plan import Stack
from devstack.secrets import load_or_create
from devstack.supervisor import supervise

SERVER_STAGES = 2  # Postgres; then NATS and the databases' roles


def main() -> int:
    home = Home.from_environment()
    stack = Stack(home, ports.kept(home), load_or_create(home))
    stack.write_service_environments()
    return supervise(home, stack.plan()[:SERVER_STAGES], on_ready=lambda: None, on_stop=lambda: None)


if __name__ == "__main__":
    sys.exit(main())
