"""What the doorways of certificate take: an id in the path, a field of a form."""

from typing import Annotated

from fastapi import Form, Path

from shared.contracts.base import ID_PATTERN

FORM_FIELDS_MAX = 10  # the form has two fields; what a browser may add is ignored
PathId = Annotated[str, Path(pattern=ID_PATTERN)]
TokenInPath = Annotated[str, Path(max_length=1000)]
Typed = Annotated[str, Form()]
