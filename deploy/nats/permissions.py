"""Renders permissions.conf from the topology: `python -m deploy.nats.permissions > deploy/nats/permissions.conf`.

A test compares the committed file with this, so the server allows what the topology says and nothing else.
"""

import sys
from collections.abc import Iterable, Mapping

from shared.bus.topology import BUS_ACCOUNT, NEXT, Permissions, permissions

HEADER = """\
# Rendered from shared/bus/topology.py: python -m deploy.nats.permissions > deploy/nats/permissions.conf
# NATS reads the value of an environment variable as configuration: a password must begin with a letter and
# hold only letters, digits and underscores.
"""
# A pull request has many answers. The server forgets the way back this long after the last answer: heartbeats come every 5 s and
# a request ends after 30 s (shared/bus/pull.py). With its default of two minutes it would keep thousands of them at a busy hour.
MANY_ANSWERS = ', response_type: Stream, threshold: "40s"'
# To an account that does not import this subject the server gives all of $JS.API, only to answer that the account has no
# JetStream; that answer would come before ours. No user may publish it.
JETSTREAM_INFO = "$JS.API.INFO"


def render() -> str:
    users = permissions()
    guests = {user: allowed for user, allowed in users.items() if allowed.account != BUS_ACCOUNT}
    staff = "".join(_user(user, allowed) for user, allowed in users.items() if user not in guests)
    exports = _export(JETSTREAM_INFO, *(guest.account for guest in guests.values()))
    exports += "".join(_export(subject, guest.account) for guest in guests.values() for subject in guest.publish)
    bus = f"  {BUS_ACCOUNT}: {{\n    jetstream: enabled\n    users: [\n{staff}    ]\n    exports: [\n{exports}    ]\n  }}\n"
    return f"{HEADER}accounts {{\n{bus}{_accounts(guests)}}}\n"


def _accounts(guests: Mapping[str, Permissions]) -> str:
    return "".join(
        f"  {allowed.account}: {{\n    users: [\n{_user(user, allowed)}    ]\n    imports: [\n{_imports(allowed)}    ]\n  }}\n"
        for user, allowed in guests.items()
    )


def _user(user: str, allowed: Permissions) -> str:
    return (
        f"      {{ user: {user}, password: $NATS_{user.upper()}_PASSWORD, permissions: {{\n"
        f"        publish: {{ allow: [\n{_lines(allowed.publish)}        ] }}\n"
        f"        subscribe: {{ allow: [\n{_lines(allowed.subscribe)}        ] }}\n"
        "      } }\n"
    )


def _export(subject: str, *accounts: str) -> str:
    answers = MANY_ANSWERS if subject.startswith(NEXT) else ""
    return f'      {{ service: "{subject}", accounts: [{", ".join(accounts)}]{answers} }}\n'


def _imports(allowed: Permissions) -> str:
    return "".join(
        f'      {{ service: {{ account: {BUS_ACCOUNT}, subject: "{subject}" }} }}\n'
        for subject in (JETSTREAM_INFO, *allowed.publish)
    )


def _lines(subjects: Iterable[str]) -> str:
    return "".join(f'          "{subject}"\n' for subject in subjects)


if __name__ == "__main__":
    sys.stdout.write(render())
