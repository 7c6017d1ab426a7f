"""A short drill: the whole product under many faults at once, judged from outside."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stack.program import ROOT

pytestmark = [pytest.mark.stores, pytest.mark.timeout(300)]


def test_a_short_drill_finds_nothing(tmp_path: Path) -> None:
    report, record = tmp_path / "drill.md", tmp_path / "drill.ndjson"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "agent", "drill", "--json"),
            *("--minutes", "0.5", "--runs", "30", "--seed", "7"),
            *("--report", str(report), "--record", str(record)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    faults = [line for line in record.read_text().splitlines() if '"what":"fault"' in line]
    assert told["violations"] == [], "\n".join(faults)
    assert told["passed"]
    assert done.returncode == 0
    assert told["score"]["runs accepted"] == "30"
    assert int(told["score"]["kills (kill -9)"]) >= 5
    assert int(told["score"]["processes ended by poisonous runs"]) >= 1
    assert "--seed 7" in report.read_text()
    kinds = {json.loads(line)["what"] for line in record.read_text().splitlines()}
    assert {"begins", "fault", "sent", "answer", "event", "RunRow", "ModelCall", "line"} <= kinds


def test_a_drill_that_is_interrupted_tells_what_it_has_seen(tmp_path: Path) -> None:
    report, record = tmp_path / "drill.md", tmp_path / "drill.ndjson"
    command = [
        *(sys.executable, "-m", "agent", "drill", "--minutes", "5", "--runs", "50", "--seed", "1"),
        *("--report", str(report), "--record", str(record)),
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        for line in process.stderr:
            if re.match(r"\d+ of 300 s", line):  # it is under way
                process.send_signal(2)
                break
        output, _ = process.communicate(timeout=120)
    assert "lost runs" in output
    assert "ended early" in report.read_text()
    assert "- lost runs" not in report.read_text()
