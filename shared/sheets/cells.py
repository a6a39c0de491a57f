"""Formulas: a sheet that we hand out shows text and runs nothing; one that we read may hold formulas without a value."""

UNCALCULATED = "（公式没有算过）"  # what a cell holds whose formula no spreadsheet has worked out yet
_FORMULA_START = ("=", "+", "-", "@", "\t", "\r")


def inert(cell: str) -> str:
    """The cell as a spreadsheet shows it and never runs it: an apostrophe stands before a formula's first character."""
    return f"'{cell}" if cell.startswith(_FORMULA_START) else cell


def without_apostrophe(cell: str) -> str:
    """Undoes `inert`, so that refused rows can be corrected and handed in again."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA_START) else cell
