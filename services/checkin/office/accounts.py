"""Accounts out of an uploaded sheet (CSV, XLSX). A workbook is read by a process of its own, within limits (shared/sheets)."""

from pathlib import Path
from tempfile import TemporaryDirectory

from services.checkin.office.domain import ACCOUNTS_MAX, account_column, is_account_title
from shared.sheets import (
    SUFFIXES,
    UNCALCULATED,
    FileFault,
    Sheet,
    SheetRow,
    WorkbookLimits,
    code_text,
    open_sheet,
    spoilt,
)

FILE_MAX_BYTES = 768 * 1024  # 10,000 accounts of 64 characters are 650,000 bytes
LIMITS = WorkbookLimits(FILE_MAX_BYTES, unpacked_max_bytes=50 * 1024**2, memory_max_bytes=256 * 1024**2, cpu_max_s=10)


def read_accounts(name: str, content: bytes) -> list[str]:
    """The accounts of a sheet, as they stand there. `name`: only its ending is used. Raises `FileFault` (zh-Hans)."""
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise FileFault("文件应为 CSV 或 XLSX")
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"名单{suffix}"
        path.write_bytes(content)
        with open_sheet(path, LIMITS) as sheet:
            return _accounts(sheet)


def _accounts(sheet: Sheet) -> list[str]:
    place = account_column(sheet.header)
    if place is None:
        raise FileFault("名单里找不到账号这一列，请把列名写成“平台账号”")
    title = sheet.header[place]
    accounts = [] if is_account_title(title) else [title]  # a list without a title
    for row in sheet.rows:
        if place < len(row.cells) and (account := _account(row, place)):
            accounts.append(account)
        if len(accounts) > ACCOUNTS_MAX:
            raise FileFault(f"名单超过 {ACCOUNTS_MAX:,} 个账号，请分几次补记")
    return accounts


def _account(row: SheetRow, place: int) -> str:
    cell = row.values({"account": place}).get("account", "")
    text = code_text(cell).strip()
    if text == UNCALCULATED:
        raise FileFault(f"第 {row.number} 行的账号是没有算过的公式，请在表格软件里打开、保存，再上传")
    if what := spoilt(cell, text):
        raise FileFault(f"第 {row.number} 行的账号被表格软件当成{what}；请从平台重新导出，并把该列设为文本")
    return text
