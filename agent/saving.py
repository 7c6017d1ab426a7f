"""Files of this machine: read to be sent, and written whole or not at all."""

from collections.abc import Iterable
from pathlib import Path
from secrets import token_hex

from agent.errors import CliError, UsageError
from shared.media import MAX_FILE_BYTES


def read_file(path: Path) -> bytes:
    """What a file holds that is to be sent.

    Raises:
        UsageError: it cannot be read, is empty, or is larger than any gateway takes.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)  # also of a device that never ends
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "its name makes no sense"
        raise UsageError(f"{str(path)[:200]!r} cannot be read: {why}.") from None
    return require_size(content, str(path))


def require_size(content: bytes, called: str) -> bytes:
    """The content, if a file may be like that.

    Raises:
        UsageError: it is empty, or larger than any gateway takes.
    """
    if not content:
        raise UsageError(f"{called[:200]!r} is empty.")
    if len(content) > MAX_FILE_BYTES:
        raise UsageError(f"{called[:200]!r} is larger than {MAX_FILE_BYTES:,} bytes.")
    return content


def write_file(path: Path, pieces: Iterable[bytes]) -> int:
    """Write a file that is whole or not there; its size in bytes.

    Raises:
        CliError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{token_hex(4)}.part")
    try:
        with draft.open("xb") as file:
            for piece in pieces:
                file.write(piece)
            size = file.tell()
        draft.replace(path)
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error.strerror}.") from None
    finally:
        draft.unlink(missing_ok=True)
    return size
