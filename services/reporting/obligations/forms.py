"""The forms of campaigns as use cases work with them: every revision, read once and kept in memory."""

from services.reporting.definition import Definition
from services.reporting.obligations import store
from services.reporting.obligations.domain import Obligation
from services.reporting.obligations.opening import Opening, Revision, openings
from shared.contracts.campaign_forms import Form
from shared.contracts.campaign_forms_reading import ReadForms, read_forms
from shared.database import Transaction


class Forms:
    """Revisions of forms never change, so what is known of them stays right; which is the newest is asked of the database."""

    def __init__(self) -> None:
        self._read: dict[str, dict[int, ReadForms]] = {}  # campaign → revision → its forms
        self._revisions: dict[str, list[Revision]] = {}
        self._plans: dict[str, tuple[tuple[int, int], list[Opening]]] = {}

    async def in_force(self, tx: Transaction, campaign_id: str) -> ReadForms | None:
        """The newest forms and indicators of a campaign; None where it never had any."""
        newest = (await store.newest_forms(tx)).get(campaign_id)
        return None if newest is None else (await self._of(tx, campaign_id, newest))[newest]

    async def of_obligation(self, tx: Transaction, obligation: Obligation) -> Form:
        """The form as it was when the obligation's period opened."""
        return await self.of_revision(tx, obligation.campaign_id, obligation.forms_revision, obligation.form)

    async def of_revision(self, tx: Transaction, campaign_id: str, revision: int, form: str) -> Form:
        read = (await self._of(tx, campaign_id, revision))[revision]
        return next(one for one in read.forms if one.id == form)

    async def plan(self, tx: Transaction, campaign_id: str, newest: int, definition: Definition) -> list[Opening]:
        """All periods of the campaign by the rules in force, by time."""
        version = (newest, definition.revision)
        known = self._plans.get(campaign_id)
        if known is None or known[0] != version:
            await self._of(tx, campaign_id, newest)
            assert definition.rules is not None  # noqa: S101 - of a definition that has arrived
            self._plans[campaign_id] = version, openings(self._revisions[campaign_id], definition.rules)
        return self._plans[campaign_id][1]

    async def _of(self, tx: Transaction, campaign_id: str, revision: int) -> dict[int, ReadForms]:
        if revision not in self._read.get(campaign_id, {}):
            kept = await store.forms_revisions(tx, campaign_id)
            self._read[campaign_id] = {one.revision: read_forms(one.forms, one.indicators) for one in kept}
            self._revisions[campaign_id] = [
                Revision(one.revision, one.defined_at, self._read[campaign_id][one.revision].forms) for one in kept
            ]
        return self._read[campaign_id]
