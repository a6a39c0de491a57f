"""A use case raises `Refused` when it will not do what was asked, and knows nothing of HTTP: each service's `refusals.py` says
how each refusal is answered, and shared/service/problems.py makes the answer."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Refused(Exception):
    """`name` says why and is never renamed. `subject` is what the title names, `detail` is for developers, and `members` are
    shown as they are. Raising it rolls the transaction back."""

    def __init__(
        self,
        name: str,
        detail: str | None = None,
        *,
        subject: str = "",
        retry_after_s: int | None = None,
        **members: Any,
    ) -> None:
        super().__init__(name)
        self.name = name
        self.detail = detail
        self.subject = subject
        self.retry_after_s = retry_after_s
        self.members = members


class Answer(NamedTuple):
    """How a refusal is answered over HTTP."""

    status: int
    type: str  # the problem's, stable
    title: str  # for people (zh-Hans); `{}` is the subject


Answers = Mapping[str, Answer]  # by the name of the refusal
