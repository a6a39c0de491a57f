"""The supervisor process of the dev stack of `FANZHA_HOME`; `fanzha up` starts it."""

import sys

from devstack import ports
from devstack.home import Home, write_env
from devstack.plan import Stack
from devstack.secrets import load_or_create
from devstack.supervisor import supervise


def main() -> int:
    home = Home.from_environment()
    stack = Stack(home, ports.kept(home), load_or_create(home))
    stack.write_service_environments()
    return supervise(
        home,
        stack.plan(),
        on_ready=lambda: write_env(home.env, stack.promised_environment()),
        on_stop=lambda: home.env.unlink(missing_ok=True),
    )


if __name__ == "__main__":
    sys.exit(main())
