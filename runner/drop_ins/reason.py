"""Why an agent cannot be served: one sentence with file and line, and below it the traceback."""

import traceback
from pathlib import Path

from runner.drop_ins.imports import PACKAGE
from runner.drop_ins.rules import NotAllowedError
from runner.theirs import storable
from shared.settings.yaml_file import YamlFileError
from shared.telemetry.redact import redact

#: Packages that are called otherwise than what is imported of them.
_PACKAGES = {
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "serial": "pyserial",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
#: Of a traceback; a recursion has a thousand frames.
_MOST_FRAMES = 20
#: Of what an error says, and of the traceback: whatever they hold is announced, logged and kept.
_MOST_SAID, _MOST_SHOWN = 2000, 8000


def reason_of(error: BaseException, file: Path) -> str:
    """The last frame inside the agent's own folder tells where; only such frames are shown.

    What looks like a secret is hidden.
    """
    placed = isinstance(error, NotAllowedError) and error.placed
    if placed or isinstance(error, YamlFileError):  # which tell file and line by themselves
        return _tellable(str(error)[:_MOST_SAID])
    folder = file.parent.resolve()
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve().is_relative_to(folder)
    ]
    where, line = (frames[-1].filename, frames[-1].lineno) if frames else (str(file), None)
    if isinstance(error, SyntaxError) and error.filename:
        where, line = error.filename, error.lineno
    at = f"{where}:{line}" if line else where  # what the file lacks is on no line of it
    sentence = f"{at}: {type(error).__name__}: {_said(error)}"[:_MOST_SAID]
    shown = "".join(traceback.format_list(frames[-_MOST_FRAMES:])).rstrip()[-_MOST_SHOWN:]
    return _tellable(f"{sentence}\n{shown}" if shown else sentence)


def _tellable(text: str) -> str:
    return redact(str(storable(text)))


def _said(error: BaseException) -> str:
    said = str(error)
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return said
    if error.name.startswith(f"{PACKAGE}."):
        return f"{said} beside the agent's file"
    top = error.name.partition(".")[0]
    return f"{said}. Install it: pip install {_PACKAGES.get(top, top)}"
