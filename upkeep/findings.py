"""What `fanzha doctor` says: findings in plain words (zh-Hans), each with what to do about it."""

from enum import StrEnum
from typing import NamedTuple


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"  # works, and will not for ever
    PROBLEM = "problem"  # wrong now


class Finding(NamedTuple):
    check: str  # a stable name, for scripts and tests
    subject: str  # which part of the deployment
    level: Level
    text: str
    remedy: str = ""


def ok(check: str, subject: str, text: str) -> Finding:
    return Finding(check, subject, Level.OK, text)


def warning(check: str, subject: str, text: str, remedy: str) -> Finding:
    return Finding(check, subject, Level.WARNING, text, remedy)


def problem(check: str, subject: str, text: str, remedy: str) -> Finding:
    return Finding(check, subject, Level.PROBLEM, text, remedy)
