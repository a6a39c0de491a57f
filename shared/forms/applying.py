"""What is checked of a campaign's forms when its file is checked or applied, and not when a definition is read again: it depends
on the units that are there and on the national calendar, which a later version of the library may know further."""

from collections.abc import Sequence

from shared.contracts.campaign import CampaignDefinition
from shared.contracts.campaign_checks import FAULTS_MAX, Fault, suggestion
from shared.contracts.campaign_forms import Form
from shared.forms.periods import due, periods
from shared.forms.working_days import SEARCH_MAX_DAYS, NoWorkingDay, UnknownYear, WorkingDays


def form_faults(definition: CampaignDefinition) -> list[Fault]:
    """Forms that nobody fills in or that name units in vain, that have no period, or whose due times nobody knows."""
    working_days = WorkingDays.of(definition)
    faults: list[Fault] = []
    for index, form in enumerate(definition.forms):
        if len(faults) >= FAULTS_MAX:
            break
        faults += _filler_faults(f"forms[{index}].filled_by", form, definition)
        faults += _period_faults(f"forms[{index}]", form, definition, working_days)
    return faults[:FAULTS_MAX]


def _filler_faults(at: str, form: Form, definition: CampaignDefinition) -> list[Fault]:
    named = form.filled_by
    faults = [
        Fault(f"{at}.units[{index}]", f"没有单位 {code}；请核对 unit_code")
        for index, code in enumerate(named.units)
        if code not in definition.unit_by_code
    ]
    faults += _unknown(f"{at}.kinds", named.kinds, sorted({unit.kind for unit in definition.units}), "kind")
    sectors = sorted({unit.sector for unit in definition.units if unit.sector})
    faults += _unknown(f"{at}.sectors", named.sectors, sectors, "sector")
    if not faults and not any(named.includes(unit) for unit in definition.units):
        faults.append(Fault(at, "没有一个单位符合；写出的 levels、kinds、sectors 要同时符合，请放宽或改用 units"))
    return faults


def _unknown(at: str, named: Sequence[str], known: Sequence[str], key: str) -> list[Fault]:
    return [
        Fault(f"{at}[{index}]", f"没有 {key} 为 {name} 的单位{suggestion(name, known)}")
        for index, name in enumerate(named)
        if name not in known
    ]


def _period_faults(at: str, form: Form, definition: CampaignDefinition, working_days: WorkingDays) -> list[Fault]:
    """The first fault of the periods, at most one: what is wrong with one period is wrong with the later ones, too."""
    first, last = definition.first_day, definition.last_day
    if form.by is not None and form.by < first:
        return [Fault(f"{at}.by", f"{form.by} 早于活动开始的 {first}；请改日期")]
    form_periods = periods(form, definition)
    if not form_periods:
        return [Fault(f"{at}.every", f"从 {first} 到 {last} 没有一期；请核对 every 和它的日子")]
    for period in form_periods:
        try:
            due(form, period, definition, working_days)
        except UnknownYear as unknown:
            year = unknown.year
            return [
                Fault(
                    f"{at}.deadline",
                    f"{period.key} 的截止时间要看 {year} 年的工作日，节假日表里没有这一年；"
                    f"请把 {year} 年的放假和调休写进 non_working_days 和 extra_working_days",
                )
            ]
        except NoWorkingDay:
            return [
                Fault(f"{at}.deadline", f"{period.key} 前后 {SEARCH_MAX_DAYS} 天没有工作日；请核对 non_working_days")
            ]
    return []
