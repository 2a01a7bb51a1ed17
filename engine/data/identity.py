"""What data are, in one digest: so that findings about them, and trainings on them, are not carried over to others."""

from __future__ import annotations

import hashlib
import zipfile

from engine.data.windows import ArrayWindows, WindowSource


def source_digest(source: WindowSource) -> str:
    """sha256 of a source's content. Of a file: of the names, sizes and CRC-32s of its arrays, which its archive holds,
    so that gigabytes need not be read."""
    if not isinstance(source, ArrayWindows):
        return source.sha256
    with zipfile.ZipFile(source.path) as archive:
        members = sorted((entry.filename, entry.file_size, entry.CRC) for entry in archive.infolist())
    return hashlib.sha256(repr(members).encode()).hexdigest()
