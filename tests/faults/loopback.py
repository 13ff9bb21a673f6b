"""A small server of W&B's protocol on the loopback, for the real client to be tested against.

It speaks as much of it as a run needs: GraphQL (``upsertBucket`` and what goes with it), the file
stream (history, summary) and the upload of files. It keeps what arrives, and can turn bad at any
moment: refuse, answer 500, cut connections, never answer, answer late, or vanish.
"""

import json
import re
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

ENTITY = "loopback"
HISTORY, EVENTS, SUMMARY = "wandb-history.jsonl", "wandb-events.jsonl", "wandb-summary.json"


@dataclass
class Bucket:
    """A run, as the server knows it: whatever came last by each name, and the streams by offset."""

    name: str
    fields: dict[str, Any] = field(default_factory=dict)
    streams: dict[str, dict[int, str]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int | None = None

    def lines(self, stream: str) -> list[str]:
        """The lines of a stream in the order of their offsets."""
        return [line for _, line in sorted(self.streams.get(stream, {}).items())]

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows of the history."""
        return [json.loads(line) for line in self.lines(HISTORY)]

    @property
    def summary(self) -> dict[str, Any]:
        """The last summary."""
        lines = self.lines(SUMMARY)
        return json.loads(lines[-1]) if lines else {}

    @property
    def config(self) -> dict[str, Any]:
        """The configuration without W&B's wrapping."""
        wrapped = json.loads(self.fields.get("config") or "{}")
        return {key: node["value"] for key, node in wrapped.items()}


class LoopbackServer:
    """Serves on a free port until closed.

    Set :attr:`manner` to one of ``well``, ``refuse`` (401), ``500``, ``cut`` (close without a
    word), ``hang`` (never answer) or ``slow`` (answer after :attr:`delay` seconds).

    Args:
        manner: How to behave at first.
        delay: Seconds, of ``slow``.
    """

    def __init__(self, manner: str = "well", delay: float = 30.0) -> None:
        self.manner, self.delay = manner, delay
        self.buckets: dict[str, Bucket] = {}
        self.operations: list[str] = []
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._gone = threading.Event()
        owner = self

        class Handler(_Handler):
            server_of = owner

        self._http = _Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def bucket(self, name: str) -> Bucket:
        """The run of a name, made when it is new."""
        with self._lock:
            return self.buckets.setdefault(name, Bucket(name))

    def vanish(self) -> None:
        """Go, as a machine that is switched off: no port, and every connection reset."""
        self._gone.set()
        self._http.shutdown()
        self._http.server_close()
        for connection in list(self._sockets):
            try:
                connection.shutdown(socket.SHUT_RDWR)
                connection.close()
            except OSError:
                pass

    def wait_for(self, condition: Any, seconds: float = 60.0) -> None:
        """Wait until something has arrived."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"after {seconds:g} s: {self.operations}")
            time.sleep(0.05)

    # What is asked

    def graphql(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Answer a query or mutation; what is not known is not there."""
        with self._lock:
            self.operations.append(operation)
        answer = getattr(self, f"_{operation}", None)
        return {"data": answer(variables) if answer else {}}

    def _ServerFeaturesQuery(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _Viewer(self, _: dict[str, Any]) -> dict[str, Any]:
        viewer = {"id": "u", "entity": ENTITY, "username": ENTITY, "email": "", "flags": "{}"}
        return {"viewer": {**viewer, "teams": {"edges": []}}}

    def _RunResumeStatus(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = self.buckets.get(asked["name"])
        project = {"id": "p", "name": asked.get("project"), "entity": {"id": "e", "name": ENTITY}}
        return {"model": {**project, "bucket": self._resumed(run) if run else None}}

    def _resumed(self, run: Bucket) -> dict[str, Any]:
        history, events = run.lines(HISTORY), run.lines(EVENTS)
        return {
            "id": run.name,
            "name": run.name,
            "summaryMetrics": json.dumps(run.summary),
            "displayName": run.fields.get("displayName"),
            "logLineCount": len(run.lines("output.log")),
            "historyLineCount": len(history),
            "eventsLineCount": len(events),
            "historyTail": json.dumps(history[-1:]),
            "eventsTail": json.dumps(events[-1:]),
            "config": run.fields.get("config") or "{}",
            "tags": run.fields.get("tags") or [],
            "notes": None,
            "wandbConfig": json.dumps({"t": 1}),
        }

    def _UpsertBucket(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = self.bucket(asked.get("name") or asked["id"])
        new = not run.fields
        run.fields |= {key: value for key, value in asked.items() if value is not None}
        project = {
            "id": "p",
            "name": run.fields.get("project"),
            "entity": {"id": "e", "name": ENTITY},
        }
        bucket = {"id": run.name, "name": run.name, "displayName": run.fields.get("displayName")}
        bucket |= {"description": None, "config": run.fields.get("config"), "sweepName": None}
        bucket |= {"project": project, "historyLineCount": len(run.lines(HISTORY))}
        return {"upsertBucket": {"bucket": bucket, "inserted": new}}

    def _CreateRunFiles(self, asked: dict[str, Any]) -> dict[str, Any]:
        place = f"{self.url}/storage/{asked['run']}"
        files = [{"name": name, "uploadUrl": f"{place}/{name}"} for name in asked["files"]]
        return {"createRunFiles": {"runID": asked["run"], "uploadHeaders": [], "files": files}}

    def _MarkRunFilesUploaded(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"markRunFilesUploaded": {"success": True}}

    def _NotifyScriptableRunAlert(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.bucket(asked["runName"]).alerts.append(asked)
        return {"notifyScriptableRunAlert": {"success": True}}

    def stream(self, run: Bucket, said: dict[str, Any]) -> dict[str, Any]:
        """Take a piece of the file stream."""
        with self._lock:
            for name, part in (said.get("files") or {}).items():
                lines = run.streams.setdefault(name, {})
                for i, line in enumerate(part["content"]):
                    lines[part["offset"] + i] = line
            if said.get("complete"):
                run.exit_code = said.get("exitcode")
        return {"limits": {}}


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed breaks its connection; anything else is a fault of this file."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server_of: LoopbackServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        self.server_of._sockets.add(self.request)
        super().setup()

    def finish(self) -> None:
        self.server_of._sockets.discard(self.request)
        super().finish()

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, content: Any, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _bad(self) -> bool:
        """Behave badly, if that is the manner."""
        manner, gone = self.server_of.manner, self.server_of._gone
        if manner == "hang":
            gone.wait()
        if manner == "slow":
            gone.wait(self.server_of.delay)
        if manner in {"hang", "cut"} or gone.is_set():
            self.close_connection = True
            return True
        if manner in {"refuse", "500"}:
            self._answer({"errors": [{"message": manner}]}, 401 if manner == "refuse" else 500)
            return True
        return False

    def do_GET(self) -> None:
        if not self._bad():
            self._answer({})

    def do_POST(self) -> None:
        body = self._body()
        if self._bad():
            return
        path = urlsplit(self.path).path
        if path == "/graphql":
            said = json.loads(body)
            found = re.match(r"\s*(?:query|mutation)\s+(\w+)", said["query"])
            operation = said.get("operationName") or (found[1] if found else "")
            self._answer(self.server_of.graphql(operation, said.get("variables") or {}))
        elif path.endswith("/file_stream"):
            run = self.server_of.bucket(unquote(path.split("/")[-2]))
            self._answer(self.server_of.stream(run, json.loads(body)))
        else:
            self._answer({}, 404)

    def do_PUT(self) -> None:
        body = self._body()
        if self._bad():
            return
        _, _, run, name = unquote(urlsplit(self.path).path).split("/", 3)
        self.server_of.bucket(run).files[name] = body
        self._answer({})

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
