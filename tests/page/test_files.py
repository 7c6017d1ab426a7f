"""What the page's files may not hold, whoever changes them."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "gateway" / "page"


@pytest.mark.parametrize("file", sorted(FOLDER.iterdir()), ids=lambda file: file.name)
def test_a_file_loads_nothing_from_elsewhere_and_parses_no_html(file: Path) -> None:
    text = file.read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text)
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in text
    # The policy allows neither inline styles nor inline scripts.
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=\"|<script(?! type=\"module\" src=)", text)
