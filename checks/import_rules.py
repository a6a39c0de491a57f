"""Rules for import-linter (pyproject.toml, `[tool.importlinter]`) that it does not have: some modules import nothing but what is
listed, and a capability is entered only by its use cases."""

import sys
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output
from importlinter.domain.helpers import module_expressions_to_modules


class ImportOnly(Contract):
    """`modules` import, directly, only the standard library, each other and `allowed` (with everything below).

    A list of what is allowed stays right when a dependency is added; a list of what is forbidden does not.
    """

    type_name = "import_only"

    modules: Any = fields.SetField(subfield=fields.ModuleExpressionField())
    allowed: Any = fields.SetField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        modules = {module.name for module in module_expressions_to_modules(graph, self.modules)}
        if not modules:  # a rule about no modules would never fail
            return ContractCheck(kept=False, metadata={"offences": ["no module matches"]})
        offences = [
            f"{importer} imports {imported}"
            for importer in sorted(modules)
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if imported not in modules and not self._is_allowed(imported)
        ]
        return ContractCheck(kept=not offences, metadata={"offences": offences})

    def _is_allowed(self, imported: str) -> bool:
        if imported.partition(".")[0] in sys.stdlib_module_names:
            return True
        return any(f"{imported}.".startswith(f"{name}.") for name in self.allowed)

    def render_broken_contract(self, check: ContractCheck) -> None:
        _print_offences(check)


class EnteredByUseCases(Contract):
    """A capability, a folder of a service, is entered from outside only by its `usecases`, and by its `domain`, whose values they
    take and give. The service's `app`, which composes it, may take anything of it but its `store`.

    `services`: packages whose folders are capabilities, at any depth. `also`: modules that others may enter besides.
    """

    type_name = "entered_by_use_cases"

    services: Any = fields.SetField(subfield=fields.StringField())
    also: Any = fields.SetField(subfield=fields.StringField(), required=False, default=frozenset())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        entered: set[str] = set()
        offences = []
        for service in sorted(self.services):
            for capability in sorted(_packages_below(graph, service)):
                for module in sorted(_modules_of(graph, capability)):
                    for importer in sorted(graph.find_modules_that_directly_import(module)):
                        if _is_within(importer, capability):
                            continue
                        entered.add(module)
                        if not self._may_enter(importer, module, service, capability):
                            offences.append(f"{importer} imports {module}")
        offences += [f"nobody enters {module}: take it off the list" for module in sorted(self.also - entered)]
        if not entered:  # a rule about no capabilities would never fail
            offences = ["no capability is entered"]
        return ContractCheck(kept=not offences, metadata={"offences": offences})

    def _may_enter(self, importer: str, module: str, service: str, capability: str) -> bool:
        if module in self.also or module in {f"{capability}.usecases", f"{capability}.domain"}:
            return True
        return importer == f"{service}.app" and not _is_within(module, f"{capability}.store")

    def render_broken_contract(self, check: ContractCheck) -> None:
        _print_offences(check)


FOLDERS_OF_A_FILE = {"api", "store"}  # what is one file in most services and a folder where it is long: no capability


def _packages_below(graph: ImportGraph, service: str) -> set[str]:
    """The service's capabilities: packages, and packages in them, that have modules."""
    return {
        module
        for module in graph.find_descendants(service)
        if graph.find_children(module) and module.rpartition(".")[2] not in FOLDERS_OF_A_FILE
    }


def _modules_of(graph: ImportGraph, capability: str) -> set[str]:
    """The capability itself and what stands in its folder, without the capabilities below it."""
    children = graph.find_children(capability)
    folders = {child for child in children if child.rpartition(".")[2] in FOLDERS_OF_A_FILE}
    return {capability, *children}.union(*(graph.find_descendants(folder) for folder in folders))


def _is_within(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def _print_offences(check: ContractCheck) -> None:
    offences: list[str] = check.metadata["offences"]
    for offence in offences:
        output.print_error(offence, bold=False)
