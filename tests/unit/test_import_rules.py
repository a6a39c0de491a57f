"""The rules of checks/import_rules.py see an offence, and refuse to be about nothing."""

from grimp import ImportGraph
from importlinter import ContractCheck

from checks.import_rules import EnteredByUseCases, ImportOnly


def graph_of(*imports: tuple[str, str]) -> ImportGraph:
    graph = ImportGraph()
    for module in {name for pair in imports for name in pair}:
        graph.add_module(module, is_squashed="." not in module)
    for importer, imported in imports:
        graph.add_import(importer=importer, imported=imported)
    return graph


def check(*imports: tuple[str, str], modules: tuple[str, ...] = ("shop.*.domain",)) -> ContractCheck:
    graph = graph_of(*imports)
    session = {"root_packages": ["shop"]}
    rule = ImportOnly("pure", session, {"modules": list(modules), "allowed": ["shop.contracts", "pydantic"]})
    return rule.check(graph, verbose=False)


def test_the_standard_library_and_what_is_listed_may_be_imported() -> None:
    kept = check(
        ("shop.a.domain", "shop.contracts.orders"),
        ("shop.a.domain", "pydantic"),
        ("shop.a.domain", "datetime"),
        ("shop.a.store", "asyncpg"),
    )
    assert kept.kept


def test_anything_else_is_named() -> None:
    broken = check(("shop.a.domain", "asyncpg"), ("shop.b.domain", "shop.contracts_of_others"))
    assert not broken.kept
    assert broken.metadata["offences"] == [
        "shop.a.domain imports asyncpg",
        "shop.b.domain imports shop.contracts_of_others",
    ]


def test_a_rule_about_no_module_is_broken() -> None:
    assert not check(("shop.a.domain", "asyncpg"), modules=("shop.*.model",)).kept


def entered(*imports: tuple[str, str], also: tuple[str, ...] = ()) -> ContractCheck:
    graph = graph_of(*imports)
    for package in ("shop", "shop.orders", "shop.orders.lines", "shop.bills"):
        graph.add_module(package)
    rule = EnteredByUseCases("doors", {"root_packages": ["shop"]}, {"services": ["shop"], "also": list(also)})
    return rule.check(graph, verbose=False)


def test_a_capability_is_entered_by_its_use_cases_and_its_values() -> None:
    kept = entered(
        ("shop.bills.api", "shop.orders.usecases"),
        ("shop.bills.domain", "shop.orders.domain"),
        ("shop.orders.api", "shop.orders.store"),
        ("shop.orders.lines.usecases", "shop.orders.store"),  # a folder in it is a part of it
        ("shop.app", "shop.orders.api"),
        ("shop.bills.api", "shop.orders.keys"),
        also=("shop.orders.keys",),
    )
    assert kept.kept, kept.metadata


def test_who_comes_in_another_way_is_named() -> None:
    broken = entered(
        ("shop.bills.usecases", "shop.orders.store"),
        ("shop.app", "shop.orders.store"),
        ("shop.orders.api", "shop.orders.lines.store"),
        ("shop.bills.api", "shop.orders.usecases"),
        also=("shop.orders.keys",),
    )
    assert broken.metadata["offences"] == [
        "shop.app imports shop.orders.store",
        "shop.bills.usecases imports shop.orders.store",
        "shop.orders.api imports shop.orders.lines.store",
        "nobody enters shop.orders.keys: take it off the list",
    ]


def test_a_store_that_is_a_folder_is_no_capability_and_still_its_capability_s_own() -> None:
    graph = graph_of(
        ("shop.orders.usecases", "shop.orders.store.lines"),
        ("shop.usecases", "shop.store.counts"),
        ("shop.bills.api", "shop.orders.usecases"),
        ("shop.app", "shop.orders.store.lines"),
    )
    for package in ("shop", "shop.orders", "shop.orders.store", "shop.store", "shop.bills"):
        graph.add_module(package)
    rule = EnteredByUseCases("doors", {"root_packages": ["shop"]}, {"services": ["shop"]})
    assert rule.check(graph, verbose=False).metadata["offences"] == ["shop.app imports shop.orders.store.lines"]


def test_a_rule_about_no_capability_is_broken() -> None:
    assert not entered(("shop.orders.api", "shop.orders.store")).kept
