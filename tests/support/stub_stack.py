"""A supervisor process for tests, with children made of shell or with the real servers, but without the services.

python -m tests.support.stub_stack 'NAME=SHELL COMMAND' …      a child is ready once its log says `up`
python -m tests.support.stub_stack                             Postgres and NATS as in the dev stack, provisioned
"""

import sys
from functools import partial
from pathlib import Path

from devstack import ports
from devstack.home import Home, write_env
from devstack.plan import Stack
from devstack.secrets import load_or_create
from devstack.supervisor import Child, Plan, supervise


def shell_child(home: Home, argument: str) -> Child:
    name, _, shell = argument.partition("=")
    return Child(name, ["/bin/sh", "-c", shell], partial(_says_up, home.log_file(name)), stop_within_s=1)


def _says_up(log: Path, pid: int) -> bool:
    return "up\n" in log.read_text()


def servers(home: Home) -> Plan:
    stack = Stack(home, ports.kept(home), load_or_create(home))
    return stack.plan()[:2]


def main(arguments: list[str]) -> int:
    home = Home.from_environment()
    return supervise(
        home,
        [[shell_child(home, argument)] for argument in arguments] or servers(home),
        on_ready=lambda: write_env(home.env, {"CHECKIN_URL": "http://127.0.0.1:1"}),
        on_stop=lambda: home.env.unlink(missing_ok=True),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
