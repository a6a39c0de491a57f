"""What the doorways of checkin take: an id in the path, and whose token."""

from typing import Annotated

from fastapi import Depends, Path

from shared.contracts.base import ID_PATTERN
from shared.service.tokens import ROLES, Principal, requires

VIEWER_IDS_MAX = 10_000
VIEWER_IDS_MAX_BYTES = 1024 * 1024  # 10,000 ids of 64 characters are 670,000 bytes

PathId = Annotated[str, Path(pattern=ID_PATTERN)]

Admin = Annotated[Principal, Depends(requires("admin"))]

Office = Annotated[Principal, Depends(requires("admin", "office"))]

Reader = Annotated[Principal, Depends(requires("admin", "office", "auditor"))]

Anybody = Annotated[Principal, Depends(requires(*ROLES, subtrees=True))]
