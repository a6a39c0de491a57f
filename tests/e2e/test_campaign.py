"""The whole campaign on a small scale: what `make demo` does, and proof that its comparison can tell."""

import pytest

from demo.check import compare
from demo.run import Run
from tests.support.demo_stack import run_on, running_stack

VIEWERS = 150


@pytest.mark.timeout(400)
async def test_sixteen_days_leave_no_difference_and_a_wrong_expectation_many() -> None:
    with running_stack() as home:
        async with run_on(home, viewers=VIEWERS, seed=7) as run:
            for step in run.traffic.steps():
                await run.send(step)
                await run.finish(step)
            outcome = await run.compare()
            assert outcome.differences == []
            assert all(check.compared for check in outcome.comparison.checks)
            await _notices_what_is_wrong(run)


async def _notices_what_is_wrong(run: Run) -> None:
    """A check-in, a claim, a message, a refusal, a name, a parked message and a phone in a log: each must be found."""
    expectation = run.expectation
    viewer_id = next(key for key, viewer in sorted(expectation.viewers.items()) if viewer.live)
    expectation.viewers[viewer_id].live.popitem()
    claimed = next(
        certificate for certificate in expectation.certificates if certificate.claimed and not certificate.revoked
    )
    claimed.claimed = False
    delivered = next(
        certificate for certificate in expectation.certificates if certificate.message.status == "delivered"
    )
    delivered.message.to = "19900099999"
    expectation.verdicts[next(key for key in expectation.verdicts if key[4] == "rejected")] += 1
    special = next(certificate for certificate in expectation.certificates if certificate.viewer_id == "ks_000000")
    special.name = "别人"
    expectation.dead_letters += 1
    log = run.player.home.log_file("supervisor")
    with log.open("a") as file:
        file.write("19900000001\n")

    comparison = await compare(run.player, expectation, run.traffic.viewers, ["ks_000000"], exact=True)

    blind = {check.what for check in comparison.checks if not check.differences}
    assert blind <= {
        "live room by unit, county, lesson, item",
        "database checkin: refused and uncredited events",
        "totals with a token of 140902 only",
        "certificates: public page and verify",
        "viewers asked one by one",
    }
