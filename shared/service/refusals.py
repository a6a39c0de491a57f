"""A use case raises `Refused` when it will not do what was asked, and knows nothing of HTTP: each service's `refusals.py` says
how each refusal is answered, and shared/service/problems.py makes the answer."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Refused(Exception):
    """`name` says why, and stays what it is. `subject` is what the title names, `detail` says more (zh-Hans too), and
    `members` are shown as they are. Where it is raised the transaction is rolled back."""

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
