"""The `file` channel: each message is a file, for the dev stack and tests.

`FILE_CHANNEL_DIR/<campaign>/<kind>/<notification_id>.txt`, UTF-8: a line `To: <phone>`, an empty line, the text. A file appears
whole or not at all, under a name that belongs to the message. So sending twice is the same as sending once, and `query` looks
whether the file is there. The files hold phones and claim codes: only their owner may read them.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

from services.notification.channels.domain import Message, Outcome, Reference, Report
from shared.whole_files import PRIVATE_FOLDER, WholeFiles


class FileChannel:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = WholeFiles(folder, formerly="*/*/*.new")

    async def send(self, messages: Sequence[Message]) -> Mapping[UUID, Outcome]:
        await asyncio.to_thread(self._write_all, messages)
        return {message.reference.notification_id: Outcome(Report.DELIVERED) for message in messages}

    async def query(self, references: Sequence[Reference]) -> Mapping[UUID, Outcome]:
        written = await asyncio.to_thread(lambda: [self._path(reference).exists() for reference in references])
        return {
            reference.notification_id: Outcome(Report.DELIVERED if is_there else Report.NOT_SENT)
            for reference, is_there in zip(references, written, strict=True)
        }

    def _write_all(self, messages: Sequence[Message]) -> None:
        paths = [self._path(message.reference) for message in messages]
        for folder in {path.parent for path in paths}:
            folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        for path, message in zip(paths, messages, strict=True):
            self._files.write(path, f"To: {message.to}\n\n{message.text}\n".encode())

    def _path(self, reference: Reference) -> Path:
        campaign = reference.campaign_id.replace("..", "__")  # an id may be `..`, but a folder must not
        return self._folder / campaign / reference.kind / f"{reference.notification_id}.txt"
