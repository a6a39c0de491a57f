"""`python -m deploy.grafana.boards write` makes the JSON that Grafana is given; `check` says what differs and exits 1."""

import json
import sys
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.boards import messages, office, operations, runbooks, units

GRAFANA = Path(__file__).parents[1]  # two folders of JSON, two folders in Grafana (provisioning/dashboards)
BOARDS = {"office": office, "units": units, "messages": messages, "operations": operations}


def built() -> dict[str, str]:
    """The JSON of every board by its path below deploy/grafana."""
    texts = {f"dashboards/{name}.json": _text(module.build()) for name, module in BOARDS.items()}
    return texts | {f"runbooks/{alert}.json": _text(board) for alert, board in runbooks.build_all().items()}


def _text(board: Dashboard) -> str:
    content: dict[str, Any] = json.loads(JSONEncoder().encode(board.build()))
    for number, panel in enumerate(content["panels"], start=1):
        panel["id"] = number  # links to a panel stay valid as long as the order does
    return json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def differences() -> list[str]:
    """The committed boards that differ from what would be built."""
    wanted = built()
    committed = (path for folder in ("dashboards", "runbooks") for path in (GRAFANA / folder).glob("*.json"))
    texts = {str(path.relative_to(GRAFANA)): path.read_text() for path in committed}
    return sorted(name for name in wanted.keys() | texts.keys() if wanted.get(name) != texts.get(name))


def main(arguments: list[str]) -> int:
    match arguments:
        case ["write"]:
            for name, text in built().items():
                (GRAFANA / name).write_text(text)
            return 0
        case ["check"]:
            for name in (differing := differences()):
                sys.stderr.write(f"{name} is not what the code builds: python -m deploy.grafana.boards write\n")
            return 1 if differing else 0
        case _:
            sys.stderr.write("python -m deploy.grafana.boards write|check\n")
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
