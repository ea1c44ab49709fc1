"""Stands in for W&B's server: as much of it as a run needs, and the rows that it was sent."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PLACE = {"id": "p", "name": "mrecg", "entity": {"id": "e", "name": "me"}}


class Kept:
    """What the server has.

    Attributes:
        history: The rows; each part comes with the place where it belongs.
        ids: Of all runs that were begun or gone on with.
        uploads: Cleared, the server takes rows without ever answering.
    """

    def __init__(self) -> None:
        self.history: list[str] = []
        self.ids: set[str] = set()
        self.uploads = threading.Event()
        self.uploads.set()

    def answer(self, query: str, variables: dict[str, Any], address: str) -> dict[str, Any]:
        lines = len(self.history)
        if "RunResumeStatus" in query:
            return {"model": {**PLACE, "bucket": self.bucket() if self.ids else None}}
        if "upsertBucket" in query:
            self.ids.add(variables["name"])
            bucket = {"id": "b", "name": variables["name"], "displayName": "d", "historyLineCount": lines}
            return {
                "upsertBucket": {"bucket": {**bucket, "config": "{}", "project": PLACE}, "inserted": True}
            }
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{address}/file"} for name in variables["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        if "viewer" in query:
            teams: dict[str, list[str]] = {"edges": []}
            return {"viewer": {"id": "v", "entity": "me", "username": "me", "flags": "{}", "teams": teams}}
        return {}

    def bucket(self) -> dict[str, Any]:
        own = {"id": "b", "name": next(iter(self.ids)), "displayName": "d", "tags": [], "config": "{}"}
        counts = {"historyLineCount": len(self.history), "logLineCount": 0, "eventsLineCount": 0}
        tails = {"historyTail": json.dumps(self.history[-1:]), "eventsTail": "[]", "summaryMetrics": "{}"}
        return {**own, **counts, **tails, "wandbConfig": json.dumps({"t": 1})}

    def rows(self) -> list[tuple[int, int]]:
        """W&B's own number and our step of each row."""
        return [(row["_step"], row["step"]) for row in map(json.loads, self.history)]


@contextmanager
def running() -> Iterator[tuple[str, Kept]]:
    """Run one; gives its address and what it keeps."""
    kept = Kept()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionError):  # W&B's process is gone
                super().handle()

        def body(self) -> bytes:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return gzip.decompress(content) if self.headers.get("Content-Encoding") == "gzip" else content

        def send(self, values: dict[str, Any]) -> None:
            content = json.dumps(values).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            values = json.loads(self.body() or b"{}")
            if self.path == "/graphql":
                address = f"http://127.0.0.1:{self.connection.getsockname()[1]}"
                return self.send(
                    {"data": kept.answer(values["query"], values.get("variables") or {}, address)}
                )
            if "file_stream" in self.path:
                kept.uploads.wait()
                if part := (values.get("files") or {}).get("wandb-history.jsonl"):
                    at, content = part["offset"], part["content"]
                    kept.history[at : at + len(content)] = content
            return self.send({})

        def do_PUT(self) -> None:
            self.body()
            self.send({})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", kept
    finally:
        kept.uploads.set()
        server.shutdown()
        server.server_close()
