"""The rule of checks/import_rules.py sees an offence, and refuses to be about nothing."""

from grimp import ImportGraph
from importlinter import ContractCheck

from checks.import_rules import ImportOnly


def check(*imports: tuple[str, str], modules: tuple[str, ...] = ("shop.*.domain",)) -> ContractCheck:
    graph = ImportGraph()
    for module in {name for pair in imports for name in pair}:
        graph.add_module(module, is_squashed="." not in module)
    for importer, imported in imports:
        graph.add_import(importer=importer, imported=imported)
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
