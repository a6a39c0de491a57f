"""A rule for import-linter (pyproject.toml, `[tool.importlinter]`): some modules import nothing but what is listed."""

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
        offences: list[str] = check.metadata["offences"]
        for offence in offences:
            output.print_error(offence, bold=False)
