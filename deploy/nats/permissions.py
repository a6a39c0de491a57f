"""Renders permissions.conf from the topology: `python -m deploy.nats.permissions > deploy/nats/permissions.conf`.

A test compares the committed file with this, so the server allows what the topology says and nothing else.
"""

import sys
from collections.abc import Iterable

from shared.topology import Permissions, permissions

HEADER = """\
# Rendered from shared/topology.py: python -m deploy.nats.permissions > deploy/nats/permissions.conf
# NATS reads the value of an environment variable as configuration: a password must begin with a letter and
# hold only letters, digits and underscores.
"""


def render() -> str:
    users = "".join(_user(user, allowed) for user, allowed in permissions().items())
    return f"{HEADER}authorization {{\n  users: [\n{users}  ]\n}}\n"


def _user(user: str, allowed: Permissions) -> str:
    return (
        f"    {{ user: {user}, password: $NATS_{user.upper()}_PASSWORD, permissions: {{\n"
        f"      publish: {{ allow: [\n{_lines(allowed.publish)}      ] }}\n"
        f"      subscribe: {{ allow: [\n{_lines(allowed.subscribe)}      ] }}\n"
        "    } }\n"
    )


def _lines(subjects: Iterable[str]) -> str:
    return "".join(f'        "{subject}"\n' for subject in subjects)


if __name__ == "__main__":
    sys.stdout.write(render())
