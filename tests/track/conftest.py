"""A real offline run of the tiny network, which several files read back, and a stand-in for W&B's server."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from offline_run import OfflineRun, read_run

from mrecg.config.schema import RunConfig
from mrecg.pipeline import run as pipeline
from mrecg.pipeline.result import Result


@pytest.fixture(scope="module", autouse=True)
def offline() -> Iterator[pytest.MonkeyPatch]:
    """Forget what the machine says about W&B, and let no name be looked up from this process."""
    patch = pytest.MonkeyPatch()
    for name in ("WANDB_MODE", "WANDB_ERROR_REPORTING", "WANDB_SILENT", "WANDB_API_KEY", "WANDB_BASE_URL"):
        patch.setenv(name, "")
        patch.delenv(name)
    patch.setenv("NETRC", "/nonexistent")

    def refuse(host: str, *rest: object, **more: object) -> None:
        if host not in ("localhost", "127.0.0.1", "::1"):
            pytest.fail(f"looked up {host}")

    patch.setattr(socket, "getaddrinfo", refuse)
    yield patch
    patch.undo()


@pytest.fixture(scope="session")
def settled() -> Callable[[Path], OfflineRun]:
    """Read a run once W&B's own process has written its end, which it does behind our back."""

    def wait(folder: Path) -> OfflineRun:
        for _ in range(200):
            if (run := read_run(folder)).exit_code is not None:
                return run
            time.sleep(0.05)
        pytest.fail(f"the run in {folder} has no end")

    return wait


@pytest.fixture(scope="module")
def finished(
    tiny_config: Callable[..., RunConfig],
    tmp_path_factory: pytest.TempPathFactory,
    settled: Callable[..., object],
) -> tuple[Path, Result]:
    """BRECQ in two passes, two units merged: its folder and its result."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    config = tiny_config(
        logger={"wandb": "offline", "tags": ["a", "b"], "group": "my-sweep", "artifact": True},
        trainer={"steps": 3},
        method={"name": "brecq", "scale_steps": 1.0},
        planner={"name": "modcap", "merge_count": 1},
        name="tiny-run",
    )
    result = pipeline.run(config, folder)
    settled(folder)
    return folder, result


@pytest.fixture(scope="module")
def read(finished: tuple[Path, Result]) -> OfflineRun:
    """The same run, from the file that W&B leaves."""
    return read_run(finished[0])


class Server:
    """Stands in for W&B behind the package: what it is asked to keep, and the two addresses."""

    app_url = "https://wandb.example"

    def __init__(self, fail: Exception | None = None, delay: float = 0.0) -> None:
        self.kept: list[dict[str, Any]] = []
        self.fail, self.delay = fail, delay

    def execute_graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        time.sleep(self.delay)
        if self.fail:
            raise self.fail
        if "upsertView" not in query:
            return {"project": {"internalId": "UHJvamVjdDox"}}
        self.kept.append(variables)
        spec = {"id": f"id{len(self.kept)}", "name": "n", "displayName": variables["displayName"]}
        more = {"description": "", "project": {"id": "1", "name": "mine", "entityName": "me"}}
        times = {"createdAt": "2026-01-31T00:00:00", "updatedAt": "2026-01-31T00:00:00"}
        return {
            "upsertView": {"view": {**spec, **more, **times, "spec": variables["spec"]}, "inserted": True}
        }


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """Let the package talk to the stand-in, with a key that only has the right length."""
    import wandb

    kept = Server()

    class Api:
        default_entity = "owner"

        def __init__(self, *arguments: object, **more: object) -> None:
            self._service_api = kept

        def projects(self, entity: str) -> list[Any]:
            return []

        def create_project(self, name: str, entity: str) -> None:
            kept.kept.append({"created": f"{entity}/{name}"})

    monkeypatch.setattr(wandb, "Api", Api)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    return kept
