"""Indicators: figures that a campaign defines by a formula (DESIGN §5.2). Here is their language; shared/forms/formulas.py works
them out.

A formula has numbers, `+ - * /`, brackets, `sum`, `min`, `max` and `per_10k(x)`, which is x per 10,000 residents. Its names:
`form.field`, `form.table.column` (inside `sum`, `min`, `max`: it has a value per row), `recorded.TOTAL`, `residents`,
`headcount`.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from shared.contracts.campaign_checks import FAULTS_MAX, Fault, Faults, suggestion
from shared.contracts.campaign_forms import DECIMALS_MAX, NUMBERS, Form, Name
from shared.contracts.campaign_parts import Line, Part, added_later

INDICATORS_MAX = 100
FORMULA_MAX_CHARACTERS = 500
NODES_MAX = 200  # operators, names and numbers of one formula
DEPTH_MAX = 20  # brackets and functions inside each other
LITERAL = re.compile(r"^[0-9]{1,15}(\.[0-9]{1,6})?$")

RECORDED = ("checkins", "credited", "viewers", "certificates_issued", "certificates_claimed")
"""The totals that reporting keeps; a formula names them `recorded.checkins` and so on."""
NAMES_OF_UNIT = ("residents", "headcount")
FUNCTIONS = ("sum", "min", "max", "per_10k")
OVER_ROWS = frozenset({"sum", "min", "max"})
OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div)
FULL_WIDTH = {
    "（": "(",
    "）": ")",
    "，": ",",
    "＋": "+",
    "－": "-",
    "×": "*",
    "＊": "*",
    "÷": "/",
    "／": "/",
    "．": ".",
    "。": ".",
}


class Named(NamedTuple):
    """A name in a formula; `over_rows`: it stands where a column may."""

    name: str
    over_rows: bool


def parsed(formula: str) -> ast.Expression:
    """The formula's tree. Raises ValueError, in zh-Hans, for what the language does not have, or beyond its limits."""
    for wrong, right in FULL_WIDTH.items():
        if wrong in formula:
            raise ValueError(f"含有全角符号 {wrong}；请改为半角 {right}")
    try:
        tree = ast.parse(formula.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError("不是有效的公式；请核对括号和运算符，如 daily.viewers / headcount") from None
    if sum(1 for _ in ast.walk(tree)) > NODES_MAX * 3:  # a name is up to three nodes, an operator two
        raise ValueError(f"公式太长；最多 {NODES_MAX} 个数、名称和运算符")
    _check(tree.body, formula.strip(), 1)
    return tree


def names_in(tree: ast.Expression) -> list[Named]:
    """Every name in the formula, each once for each kind of place where it stands."""
    return list(dict.fromkeys(_names(tree.body, over_rows=False)))


def dotted(node: ast.expr) -> str | None:
    """`daily.viewers` of a name or of names joined by dots; None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)) is not None:
        return f"{before}.{node.attr}"
    return None


def _check(node: ast.expr, formula: str, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise ValueError(f"嵌套太深；最多 {DEPTH_MAX} 层")
    if dotted(node) is not None:
        return
    match node:
        case ast.Constant():
            literal = str(ast.get_source_segment(formula, node))
            if not LITERAL.match(literal):
                raise ValueError(f"{literal[:30]} 不是可用的数；最多 15 位整数和 6 位小数，如 0.5")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            _check(operand, formula, depth + 1)
        case ast.BinOp(left=left, op=operator, right=right):
            if not isinstance(operator, OPERATORS):
                raise ValueError("公式只能用 + - * / 四种运算")
            _check(left, formula, depth + (not isinstance(left, ast.BinOp)))
            _check(right, formula, depth + 1)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            _check_call(name, args)
            for argument in args:
                _check(argument, formula, depth + 1)
        case _:
            raise ValueError(f"公式里只能有数、名称、+ - * /、括号和 {'、'.join(FUNCTIONS)}")


def _check_call(name: str, args: Sequence[ast.expr]) -> None:
    if name not in FUNCTIONS:
        raise ValueError(f"没有函数 {name}{suggestion(name, FUNCTIONS)}")
    if not args or (name == "per_10k" and len(args) > 1):
        raise ValueError("per_10k 要有一个数，如 per_10k(daily.viewers)" if name == "per_10k" else f"{name} 里没有数")


def _names(node: ast.expr, over_rows: bool) -> Iterator[Named]:
    if (name := dotted(node)) is not None:
        yield Named(name, over_rows)
        return
    match node:
        case ast.Call(func=ast.Name(id=function), args=args):
            if function == "per_10k":
                yield Named("residents", False)
            for argument in args:
                yield from _names(argument, function in OVER_ROWS)
        case ast.UnaryOp(operand=operand):
            yield from _names(operand, over_rows=False)
        case ast.BinOp(left=left, right=right):
            yield from _names(left, over_rows=False)
            yield from _names(right, over_rows=False)


def _is_formula(formula: str) -> str:
    parsed(formula)
    return formula


class Indicator(Part):
    """A figure of every unit, county or city; shown with `decimals` digits after the point, "—" where it has no value."""

    id: Name
    title: Line
    formula: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=FORMULA_MAX_CHARACTERS),
        AfterValidator(_is_formula),
    ]
    decimals: Annotated[int, Field(ge=0, le=DECIMALS_MAX)] = added_later(2)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not names_in(parsed(self.formula)):
            raise Faults([Fault("formula", "公式里没有名称，结果永远相同；请用 表.栏、recorded.checkins 或 headcount")])
        return self


def name_faults(indicators: Sequence[Indicator], forms: Sequence[Form]) -> list[Fault]:
    """Names in formulas that nothing has: no form's field, no total, nothing of a unit."""
    numbers, columns, others = _names_of(forms)
    faults: list[Fault] = []
    for index, indicator in enumerate(indicators):
        if len(faults) >= FAULTS_MAX:
            break
        for name, over_rows in names_in(parsed(indicator.formula)):
            if name in numbers or (over_rows and name in columns):
                continue
            if name in columns:
                why = f"{name} 每行有一个数；请写成 sum({name})，或用 min、max"
            elif name in others:
                why = f"{name} 是 {others[name]}，不是数字；公式只能用 integer 和 decimal 的栏"
            else:
                why = f"没有 {name} 这个名称{suggestion(name, [*numbers, *columns])}"
            faults.append(Fault(f"indicators[{index}].formula", why))
    return faults


def _names_of(forms: Sequence[Form]) -> tuple[dict[str, None], dict[str, None], dict[str, str]]:
    """Names that have one number, names that have one per row, and fields that are no numbers, with their type."""
    numbers: list[str] = []
    columns: list[str] = []
    others: dict[str, str] = {}
    for form in forms:
        for field in form.fields:
            name = f"{form.id}.{field.id}"
            if field.type in NUMBERS:
                numbers.append(name)
            else:
                others[name] = field.type
            for column in field.columns:
                if column.type in NUMBERS:
                    columns.append(f"{name}.{column.id}")
                else:
                    others[f"{name}.{column.id}"] = column.type
    numbers += [*(f"recorded.{total}" for total in RECORDED), *NAMES_OF_UNIT]
    return dict.fromkeys(numbers), dict.fromkeys(columns), others
