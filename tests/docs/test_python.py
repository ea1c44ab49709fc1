"""The code of docs/how-to/python.md runs, from top to bottom in one program."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import mrecg
from mrecg.reconstruct.events import Silent

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "python.md"
PARTS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_the_code_runs_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    names: dict[str, Any] = {"__name__": "__main__"}
    for part in PARTS:
        exec(compile(part, str(PAGE), "exec"), names)
    said = capsys.readouterr().out
    assert len(PARTS) == 8 and isinstance(names["result"], mrecg.Result)
    assert "Result: Net, W4A8" in said and "'agreement': 1.0" in said and "pt2" in said
    assert list(names["runs"]["status"]) == ["completed"] and (tmp_path / "net.pt2").is_file()
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(names["program"].module()(images), names["result"].model(images))


def test_every_event_is_listed() -> None:
    listed = set(re.findall(r"^\| `(\w+)\(", PAGE.read_text(), re.MULTILINE))
    assert listed == {name for name in vars(Silent) if not name.startswith("_")}
