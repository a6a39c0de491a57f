"""The changes that mutants.py makes: in each, some fields of one node of the syntax tree are exchanged and put back."""

import ast
from collections.abc import Iterator
from typing import Any

OPERATORS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.FloorDiv,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitAnd: (ast.BitOr,),
    ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,),
    ast.USub: (ast.UAdd,),
}
OTHER_NAME = {"min": "max", "max": "min", "any": "all", "all": "any"}
REMOVABLE = (ast.Expr, ast.AugAssign, ast.Raise, ast.Break, ast.Continue, ast.Delete)
LINE_MAX_CHARS = 110

Edit = tuple[ast.AST, dict[str, Any]]  # node, and what stands in some of its fields instead


def mutations(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Changes `tree` in one place, yields the line before and after, puts it back, and so on."""
    enumerations = {node.name: _members(node) for node in tree.body if isinstance(node, ast.ClassDef)}
    for statement, (node, new) in _edits(tree, tree, enumerations):
        before, old = ast.unparse(statement), {field: getattr(node, field) for field in new}
        vars(node).update(new)
        after = ast.unparse(statement)
        if before != after:
            yield _differing_line(before, after)
        vars(node).update(old)


def _members(enumeration: ast.ClassDef) -> list[str]:
    targets = [line.targets[0] for line in enumeration.body if isinstance(line, ast.Assign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _edits(node: ast.AST, statement: ast.AST, enumerations: dict[str, list[str]]) -> Iterator[tuple[ast.AST, Edit]]:
    statement = node if isinstance(node, ast.stmt) else statement
    for edit in [*_of_values(node, enumerations), *_of_lines(node)]:
        yield statement, edit
    for field, value in ast.iter_fields(node):
        if _says_types(node, field, value):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                yield from _edits(child, statement, enumerations)


def _says_types(node: ast.AST, field: str, value: Any) -> bool:
    """mypy and ruff read these and no test does: annotations, `Callable[[int], int]`, `class A(Struct, frozen=True)`,
    `__all__`."""
    of_class = isinstance(node, ast.ClassDef) and field in ("keywords", "decorator_list")
    of_alias = field == "slice" and isinstance(value, ast.Tuple | ast.List)
    exported = isinstance(node, ast.Assign) and any(ast.unparse(target) == "__all__" for target in node.targets)
    return field in ("annotation", "returns", "type_params") or of_class or of_alias or exported


def _of_values(node: ast.AST, enumerations: dict[str, list[str]]) -> Iterator[Edit]:
    """What an expression is: numbers, operators, members, entries."""
    match node:
        case ast.Constant(value=bool(value)):
            yield node, {"value": not value}
        case ast.Constant(value=int(value) | float(value)):
            yield node, {"value": value + 1}
        case ast.Compare(ops=ops):
            for at, op in enumerate(ops):
                for other in OPERATORS.get(type(op), ()):
                    yield node, {"ops": [*ops[:at], other(), *ops[at + 1 :]]}
        case ast.BoolOp(op=op, values=values):
            yield node, {"op": OPERATORS[type(op)][0]()}
            neutral = ast.Constant(isinstance(op, ast.And))
            for at in range(len(values)):
                yield node, {"values": [*values[:at], neutral, *values[at + 1 :]]}
        case ast.BinOp(op=op) | ast.AugAssign(op=op) | ast.UnaryOp(op=ast.USub() as op):
            for other in OPERATORS.get(type(op), ()):
                yield node, {"op": other()}
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield node, {"operand": _negated(operand)}
        case ast.Name(id=name) if name in OTHER_NAME:
            yield node, {"id": OTHER_NAME[name]}
        case ast.Attribute(value=ast.Name(id=owner), attr=name) if name in enumerations.get(owner, ()):
            members = enumerations[owner]
            yield node, {"attr": members[members.index(name) - 1]}  # its neighbour
        case ast.Set(elts=elts) | ast.List(elts=elts, ctx=ast.Load()) | ast.Tuple(elts=elts, ctx=ast.Load()):
            yield from _each_left_out(node, "elts", elts)
        case ast.Dict(keys=keys, values=values):
            for at in range(len(keys)):
                yield node, {"keys": [*keys[:at], *keys[at + 1 :]], "values": [*values[:at], *values[at + 1 :]]}


def _of_lines(node: ast.AST) -> Iterator[Edit]:
    """What is done, and when: conditions, returns, decorators, statements."""
    match node:
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            if not isinstance(test, ast.Compare | ast.UnaryOp | ast.BoolOp):  # these have changes of their own
                yield node, {"test": _negated(test)}
        case ast.comprehension(ifs=ifs):
            yield from _each_left_out(node, "ifs", ifs)
        case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
            yield node, {"value": ast.Constant(None)}
        case ast.FunctionDef(decorator_list=decorators) | ast.AsyncFunctionDef(decorator_list=decorators):
            yield from _each_left_out(node, "decorator_list", decorators)
    for field in ("body", "orelse", "finalbody"):
        value = getattr(node, field, None)
        lines: list[ast.stmt] = value if isinstance(value, list) else []  # of a lambda it is an expression
        for at, line in enumerate(lines):
            if _removable(line):
                yield node, {field: [*lines[:at], ast.Pass(), *lines[at + 1 :]]}


def _removable(line: ast.stmt) -> bool:
    if isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant):
        return False  # a docstring
    stored = isinstance(line, ast.Assign) and not isinstance(line.targets[0], ast.Name | ast.Tuple)
    return stored or isinstance(line, REMOVABLE)


def _each_left_out(node: ast.AST, field: str, values: list[Any]) -> Iterator[Edit]:
    for at in range(len(values)):
        yield node, {field: [*values[:at], *values[at + 1 :]]}


def _negated(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


def _differing_line(before: str, after: str) -> tuple[str, str]:
    one, other = before.splitlines(), after.splitlines()
    pairs = zip(one, other, strict=False)
    at = next((at for at, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)) - 1)
    return _cut(one[at].strip(), other[at].strip())


def _cut(one: str, other: str) -> tuple[str, str]:
    """Long lines around the place where they differ."""
    same = next((at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right), 0)
    since = max(0, same - LINE_MAX_CHARS // 2)
    return one[since : since + LINE_MAX_CHARS], other[since : since + LINE_MAX_CHARS]
