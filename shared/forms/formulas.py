"""Works out the formulas of indicators, exactly (DESIGN §5.2). Their language is in shared/contracts/campaign_formulas.py.

A value that is missing, or a denominator of zero, makes the result None, which screens show as "—": it is never 0.
"""

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from threading import Lock
from typing import Any, Final

from simpleeval import SimpleEval

from shared.contracts.campaign_formulas import Indicator, dotted, names_in, parsed

Given = int | Decimal | Fraction | None
Value = Fraction | None

PER = 10_000  # residents
NONE_SHOWN = "—"


def _known(operation: Callable[[Fraction, Fraction], Value]) -> Callable[[Value, Value], Value]:
    """The operation, None where one of its operands is."""
    return lambda left, right: None if left is None or right is None else operation(left, right)


def _quotient(left: Fraction, right: Fraction) -> Value:
    return None if right == 0 else left / right


OPERATORS: Final[dict[type[ast.AST], Callable[..., Value]]] = {
    ast.Add: _known(lambda left, right: left + right),
    ast.Sub: _known(lambda left, right: left - right),
    ast.Mult: _known(lambda left, right: left * right),
    ast.Div: _known(_quotient),
    ast.USub: lambda value: None if value is None else -value,
}


class Formula:
    """A formula, compiled once. Raises ValueError, in zh-Hans, where it is none."""

    def __init__(self, text: str) -> None:
        tree = parsed(text)
        self.names = sorted({named.name for named in names_in(tree)})
        self._text = text.strip()
        self._tree = _Compiled(self._text).visit(tree.body)
        self._evaluator = SimpleEval(operators=OPERATORS, functions=_functions(self._residents), names={})
        self._lock = Lock()  # the evaluator keeps the names of one evaluation at a time

    def value(self, values: Mapping[str, Given | Sequence[Given]]) -> Value:
        """The value for these names; a column has a sequence, with a value per row. A name that is absent is missing."""
        exact = {name: _exact(values.get(name)) for name in self.names}
        with self._lock:
            self._evaluator.names = exact
            result: Value = self._evaluator.eval(self._text, previously_parsed=self._tree)
        return result

    def fraction(self) -> "tuple[Formula, Formula] | None":
        """Numerator and denominator, where the whole formula is a division; else None."""
        body = parsed(self._text).body
        if not (isinstance(body, ast.BinOp) and isinstance(body.op, ast.Div)):
            return None
        above, below = (ast.get_source_segment(self._text, part) for part in (body.left, body.right))
        return Formula(above or ""), Formula(below or "")

    def _residents(self) -> Value:
        residents: Value = self._evaluator.names["residents"]
        return residents


class _Compiled(ast.NodeTransformer):
    """Numbers become fractions as they were written (0.1 is a tenth), dotted names become names."""

    def __init__(self, text: str) -> None:
        self._text = text

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        constant: Any = Fraction(str(ast.get_source_segment(self._text, node)))
        return ast.copy_location(ast.Constant(constant), node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return ast.copy_location(ast.Name(str(dotted(node)), ast.Load()), node)


def _functions(residents: Callable[[], Value]) -> dict[str, Callable[..., Value]]:
    return {
        "sum": lambda *given: _over(given, lambda values: sum(values, Fraction(0))),
        "min": lambda *given: _over(given, lambda values: min(values, default=None)),
        "max": lambda *given: _over(given, lambda values: max(values, default=None)),
        "per_10k": lambda value: OPERATORS[ast.Div](OPERATORS[ast.Mult](value, Fraction(PER)), residents()),
    }


def _over(given: Iterable[Value | tuple[Value, ...]], result: Callable[[list[Fraction]], Value]) -> Value:
    """The result over numbers and columns together, None where one number is missing."""
    values = [value for item in given for value in (item if isinstance(item, tuple) else (item,))]
    present = [value for value in values if value is not None]
    return result(present) if len(present) == len(values) else None


def _exact(given: Given | Sequence[Given]) -> Value | tuple[Value, ...]:
    if given is None or isinstance(given, int | Decimal | Fraction):
        return None if given is None else Fraction(given)
    return tuple(None if value is None else Fraction(value) for value in given)


def rounded(value: Fraction, decimals: int) -> Decimal:
    """The value with so many digits after the point; what lies half-way is rounded away from zero (四舍五入)."""
    scaled = abs(value) * 10**decimals
    digits = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    sign = "-" if value < 0 and digits else ""
    return Decimal(f"{sign}{digits}E-{decimals}")


def shown(value: Value, decimals: int) -> str:
    """As screens and bulletins show it: 12.50, or "—" where there is no value."""
    return NONE_SHOWN if value is None else f"{rounded(value, decimals):f}"


def compiled(indicators: Iterable[Indicator]) -> dict[str, Formula]:
    """Indicator → its formula, once per revision of a campaign."""
    return {indicator.id: Formula(indicator.formula) for indicator in indicators}
