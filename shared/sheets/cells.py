"""The formula guard: a sheet that we hand out shows text and runs nothing."""

_FORMULA_START = ("=", "+", "-", "@", "\t", "\r")


def inert(cell: str) -> str:
    """The cell as a spreadsheet shows it and never runs it: an apostrophe stands before a formula's first character."""
    return f"'{cell}" if cell.startswith(_FORMULA_START) else cell


def without_apostrophe(cell: str) -> str:
    """Undoes `inert`, so that refused rows can be corrected and handed in again."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA_START) else cell
