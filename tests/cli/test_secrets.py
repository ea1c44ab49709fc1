"""A canary as password and as token: it reaches the download, and nothing that is kept or shown."""

import base64
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import bad_files as bad
import pytest
import torch

from mrecg.pipeline.result import load

Call = Callable[..., Any]
CANARY = "canary5e1f"
BASIC = "Basic " + base64.b64encode(f"ann:{CANARY}/w".encode()).decode()


class Server(HTTPServer):
    """Serves one checkpoint to those who know the password and the token.

    Attributes:
        content: The file.
        asked: Paths and credentials that were asked with.
    """

    content: bytes
    asked: list[tuple[str, str | None]]

    def place(self, name: str = "w.pth") -> str:
        return f"127.0.0.1:{self.server_port}/a/{name}"

    def url(self, name: str = "w.pth") -> str:
        """With both secrets; the slash of the password is encoded."""
        return f"http://ann:{CANARY}%2Fw@{self.place(name)}?token={CANARY}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        said = self.headers.get("Authorization")
        self.server.asked.append((self.path, said))
        right = self.path == f"/a/w.pth?token={CANARY}" and said == BASIC
        self.send_response(200 if right else 403)
        self.send_header("Content-Length", str(len(self.server.content) if right else 0))
        self.end_headers()
        self.wfile.write(self.server.content if right else b"")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve the tiny network's weights from an empty cache of downloads."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    bad.torch_file(bad.weights)()
    with Server(("127.0.0.1", 0), Handler) as serving:
        serving.content, serving.asked = Path("w.pth").read_bytes(), []
        thread = Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def unpacked(content: bytes) -> Iterator[bytes]:
    """A file, and what is compressed in it: as a whole, or in base64 as in the page."""
    yield content
    for block in re.findall(rb"[A-Za-z0-9+/=]{40,}", content):
        try:
            raw = base64.b64decode(block, validate=True)
        except ValueError:
            continue
        yield raw
        for inflate in (gzip.decompress, zlib.decompress, lambda data: zlib.decompress(data, -15)):
            try:
                yield inflate(raw)
            except (OSError, EOFError, zlib.error):
                continue


def leaks(*folders: Path) -> list[str]:
    """Files that hold the canary; it is searched for in base64, too."""
    wanted = [CANARY.encode(), base64.b64encode(f"ann:{CANARY}".encode())[:12]]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert files
    return [
        str(path)
        for path in files
        if CANARY in path.name or any(w in part for part in unpacked(path.read_bytes()) for w in wanted)
    ]


def test_the_search_finds_what_is_packed(tmp_path: Path) -> None:
    secret = f'{{"a": "{CANARY}", "b": "{"x" * 99}"}}'.encode()
    (tmp_path / "a").write_bytes(b"<script>" + base64.b64encode(gzip.compress(secret)) + b"</script>")
    (tmp_path / "b").write_bytes(b"nothing")
    assert leaks(tmp_path) == [str(tmp_path / "a")]


def test_a_run_keeps_no_secret_and_goes_on_without_it(
    mrecg: Call, small: list[str], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*(word for word in small if word != "logger=csv"), "granularity=block", "method=rtn"]
    done = mrecg("quantize", *words, f"model.checkpoint='{server.url()}'", "hydra.run.dir=run")
    assert done.code == 0, done.err
    assert server.asked == [(f"/a/w.pth?token={CANARY}", BASIC)]
    assert CANARY not in done.out + done.err and leaks(Path("run")) == []
    assert list(Path("run/wandb").rglob("*.wandb")), "W&B has kept nothing, so that nothing was searched"
    masked = f"http://***@{server.place()}?token=***"
    weights = json.loads(Path("run/weights.json").read_text())
    assert (
        weights["origin"] == masked and load(Path("run"), allow_import=True).config.model.checkpoint == masked
    )
    assert masked in Path("run/.hydra/overrides.yaml").read_text()
    monkeypatch.delenv("MRECG_SECRETS", raising=False)
    again = mrecg("quantize", "resume=run", "allow_import=true")
    assert again.code == 0, again.err
    assert len(server.asked) == 1 and json.loads(Path("run/weights.json").read_text()) == weights
    for file in Path("torch").rglob("*.pth"):
        file.unlink()
    monkeypatch.delenv("MRECG_SECRETS", raising=False)
    lost = mrecg("quantize", "resume=run", "allow_import=true")
    assert lost.code == 2
    assert re.search(
        r"^mrecg: model\.checkpoint: http://\*\*\*@.* has \*\*\* in place of a secret, and no download "
        r"of it is in .*; give the whole URL again: model\.checkpoint=URL$",
        lost.err.splitlines()[-1],
    )
    given = mrecg("quantize", "resume=run", "allow_import=true", f"model.checkpoint='{server.url()}'")
    assert given.code == 0 and len(server.asked) == 2, given.err
    assert leaks(Path("run")) == [] and CANARY not in lost.out + lost.err + given.out + given.err


@pytest.mark.parametrize("verb", ["plan", "evaluate"])
def test_other_verbs_keep_none(verb: str, mrecg: Call, small: list[str], server: Server) -> None:
    more = ["planner=modcap"] if verb == "plan" else []
    done = mrecg(verb, *small, *more, f"model.checkpoint='{server.url()}'", "hydra.run.dir=run")
    assert done.code == 0, done.err
    assert CANARY not in done.out + done.err and leaks(Path("run")) == []


@pytest.mark.slow
def test_a_sweep_keeps_none(mrecg: Call, small: list[str], server: Server) -> None:
    words = [*small, "granularity=block", "method=rtn", "bits.weight=4,8"]
    url = f"model.checkpoint='{server.url()}'"
    done = mrecg("quantize", "-m", *words, url, "hydra.sweep.dir=s")
    assert done.code == 0, done.err
    assert CANARY not in done.out + done.err and leaks(Path("s")) == [] and len(server.asked) == 1
    resumed = mrecg("sweep", "resume", "s", "--allow-import")
    assert resumed.code == 0 and leaks(Path("s")) == [], resumed.err


def test_a_variable_keeps_the_secret_out_of_the_command_line(
    mrecg: Call, small: list[str], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_URL", server.url())
    words = [*small, "granularity=block", "method=rtn", "model.checkpoint='${oc.env:MY_URL}'"]
    done = mrecg("quantize", *words, "hydra.run.dir=run")
    assert done.code == 0, done.err
    assert CANARY not in done.out + done.err and leaks(Path("run")) == []
    assert "${oc.env:MY_URL}" in Path("run/.hydra/overrides.yaml").read_text()


def test_a_secret_in_the_users_own_file_is_masked_in_the_run_folder(
    mrecg: Call, small: list[str], server: Server
) -> None:
    Path("own/experiment").mkdir(parents=True)
    Path("own/experiment/mine.yaml").write_text(
        f"# @package _global_\nmodel:\n  checkpoint: '{server.url()}'\n  arguments:\n    classes: 3\n"
    )
    words = ["--config-dir=own", *small, "granularity=block", "method=rtn", "experiment=mine"]
    done = mrecg("quantize", *words, "hydra.run.dir=run")
    assert done.code == 0, done.err
    assert CANARY not in done.out + done.err and leaks(Path("run")) == []


FAILING = {
    "not served": "http://ann:{c}@{p}?token={c}",
    "no host": "http://ann:{c}@no.such.host.invalid/w.pth?token={c}",
    "a slash": "http://ann:x{c}/w@{p}",
    "a space": "http://ann:{c}@{p}?token={c} x",
    "no port": "http://127.0.0.1:{c}/w.pth",
    "a bracket": "http://ann:{c}@[/w.pth?token={c}",
    "a scheme": "htps://ann:{c}@{p}?token={c}",
    "a suffix": "http://ann:{c}@host/w.onnx?token={c}",
    "both": "http://ann:{c}@host/w.pth?token=${{oc.env:HOME}}",
}


@pytest.mark.parametrize("kind", FAILING)
@pytest.mark.parametrize("debug", ["", "1"])
def test_a_download_that_fails_says_none(
    kind: str, debug: str, mrecg: Call, small: list[str], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MRECG_DEBUG", debug)
    url = FAILING[kind].format(c=CANARY, p=server.place("no.pth"))
    done = mrecg("quantize", *small, f"model.checkpoint='{url}'", "hydra.run.dir=run")
    assert (done.code == 2 and "model.checkpoint" in done.err.splitlines()[-1]) or kind == "both", done.err
    assert done.code == 2 and CANARY not in done.out + done.err and "a defect" not in done.err, done.err
    if Path("run").exists():
        assert leaks(Path("run")) == []
