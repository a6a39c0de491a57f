"""Compares the results of the traffic with what they must be."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.check_apis import Apis
from demo.check_certificates import Certificates
from demo.check_databases import Databases
from demo.check_metrics import Metrics
from demo.comparison import Check
from demo.expectation import Expectation
from demo.people import Viewer
from demo.player import Player
from demo.privacy import everywhere
from demo.sums import Sums


@dataclass
class Comparison:
    """All lines of the table, and what is worth looking at by hand."""

    checks: list[Check]
    viewer_page: str
    certificate_page: str
    claim_page: str
    to_claim: tuple[str, str]  # claim code and phone tail; empty where everybody has claimed
    pdfs: list[Path]


async def compare(
    player: Player,
    expectation: Expectation,
    viewers: Iterable[Viewer],
    claimed: Sequence[str],
    *,
    exact: bool,
) -> Comparison:
    """Asks the running stack, which must have nothing left to do. `exact` is False where services were killed."""
    sums = Sums(expectation)
    apis, metrics = Apis(player, expectation, sums), Metrics(player, expectation, sums)
    certificates = Certificates(player, expectation, claimed)
    checks = [
        *await apis.check(),
        *await metrics.check(exact=exact),
        *await Databases(player, expectation, sums).check(),
        *await certificates.check(),
    ]
    size, seen = await everywhere(player.home, viewers, metrics.pages)
    private = Check("names and phones in logs, metrics, streams, databases", found=len(seen), compared=size)
    private.differences = [f"{sighting.where}: {sighting.what}" for sighting in seen]
    return Comparison(
        [*checks, private],
        apis.viewer_page,
        certificates.page,
        certificates.claim_page,
        certificates.to_claim,
        certificates.pdfs,
    )
