"""How the benchmark turns what happened into figures, and that a wrong answer fails the run."""

from collections import Counter

import pytest

from bench import checker, report, soak
from bench.cases import Result
from bench.generator import Outcome, Sent
from bench.latency import percentiles, visible_after
from bench.meter import Usage


def _outcome(posts: list[Sent], began: float = 0.0, ended: float = 10.0) -> Outcome:
    return Outcome(posts, Counter(recorded=sum(post.recorded for post in posts)), began, ended, 0.0)


def _sent(due: float, answered: float, status: int = 200, number: int = 0) -> Sent:
    return Sent(number, due, due, answered, status, 10)


def test_a_post_is_visible_when_the_sum_has_reached_it() -> None:
    outcome = _outcome([_sent(1.0, 1.1), _sent(2.0, 2.1), _sent(3.0, 3.1)])

    waits = visible_after(outcome, [(1.5, 10), (2.25, 15), (4.0, 30)], per_post=10)

    assert waits == [0.5, 2.0, 1.0]  # the second was not whole until the sum reached 20


def test_percentiles_are_in_milliseconds() -> None:
    figures = percentiles([n / 1000 for n in range(1, 101)])

    assert figures == {"p50": 51.0, "p90": 91.0, "p95": 96.0, "p99": 100.0, "max": 100.0}


@pytest.mark.parametrize(
    ("verdicts", "statuses"),
    [({"recorded": 9}, [200]), ({"recorded": 9, "duplicate": 1}, [200]), ({"recorded": 10}, [200, 429])],
)
def test_less_than_everything_recorded_fails_the_run(verdicts: dict[str, int], statuses: list[int]) -> None:
    outcome = Outcome([_sent(0, 1, status) for status in statuses], Counter(verdicts), 0, 1, 0)

    with pytest.raises(checker.WrongAnswer):
        checker.all_recorded(outcome, 10)


def test_everything_recorded_is_right() -> None:
    checker.all_recorded(_outcome([_sent(0, 1)]), 10)


async def test_what_never_comes_true_fails_the_run() -> None:
    async def look() -> int:
        return 3

    with pytest.raises(checker.WrongAnswer, match="totals: 4 wanted, found 3"):
        await checker.until("totals", look, 4, every_s=0, within_s=0)


def test_cost_is_per_check_in_and_the_rest_of_postgres_is_kept() -> None:
    cpu_s = {"checkin": 2.0, "postgres: checkin": 1.0, "postgres: background": 0.5, "postgres": 0.25, "monolith": 4.0}
    usage = Usage(cpu_s, {"checkin": 120.0}, wal_bytes=400_000, fsyncs=10, nats_messages=10, others_cores=0.5)
    result = Result("case", "check-ins", 1_000, 2.0, usage)

    assert result.rate == 500
    assert result.cpu_us()["checkin"] == 2_000
    rows = report.processes([result]).splitlines()
    assert rows[2].split("|")[-2].strip() == "750.0"
    assert " 7,750 |" in report.rates([result])


def test_latency_by_part_of_a_run_and_its_drawing() -> None:
    outcome = _outcome([_sent(second / 10, second / 10 + 0.02, number=second) for second in range(100)])

    points = soak.windows(outcome, 0.99)
    drawing = soak.svg([("memory", {"checkin": [(0.0, 100.0), (1.0, 120.0)]}), ("latency", {"p99": points})])

    assert len(points) == soak.WINDOWS
    assert all(ms == pytest.approx(20) for _, ms in points)
    assert drawing.count("<polyline ") == 2
    assert drawing.startswith("<svg ")
