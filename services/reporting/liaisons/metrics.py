"""The metrics of liaisons: wrong codes, counted by this process."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, Metric

from shared.database import Transaction

OUTCOME_OF = {"code-unknown": "wrong", "codes-tried-too-often": "refused"}


class CodeTries:
    """Counts the tries with a code that no slip has, and those of an address that had too many of them."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(OUTCOME_OF.values(), 0)

    def add(self, refusal: str) -> None:
        """`refusal`: the name of any refusal; only those of wrong codes count."""
        if outcome := OUTCOME_OF.get(refusal):
            self._counts[outcome] += 1

    async def collect(self, _: Transaction) -> Iterable[Metric]:
        family = CounterMetricFamily(
            "fanzha_liaison_code_tries",
            "Codes of slips that this process has not taken: wrong ones, and those refused after 50 wrong ones of an address. "
            "Above 500 an hour somebody is guessing: see the runbook LiaisonCodesGuessed.",
            labels=["outcome"],
        )
        for outcome, number in self._counts.items():
            family.add_metric([outcome], number)
        return [family]
