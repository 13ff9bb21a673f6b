"""A mirror of MNIST on this machine, which answers as a test wants."""

import gzip
import http.server
import shutil
import threading
from contextlib import contextmanager

import numpy as np
import torchvision.datasets

from lightning_gen.data import mnist as module
from lightning_gen.data.mnist import FILES, find_files, to_idx

LABELS = "t10k-labels-idx1-ubyte"


def idx_files(mnist):
    """The four IDX files, made from the prepared arrays."""
    arrays = [
        mnist.prepared.array(f"{s}_{k}") for s in ("train", "test") for k in ("image", "label")
    ]
    return {n: to_idx(np.squeeze(a).astype(np.uint8)) for n, a in zip(FILES, arrays, strict=True)}


def packed_files(files):
    """The same as a mirror has them."""
    return {f"{name}.gz": gzip.compress(data, 1) for name, data in files.items()}


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves the files, as the test's ``answer`` changes them."""

    def do_GET(self):
        self.server.asked.append(self.path[1:])
        body = self.server.packed[self.path[1:]]
        claimed, body = self.server.answer(self.path[1:], body)
        self.send_response(200)
        self.send_header("Content-Length", str(claimed))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextmanager
def serving(packed, monkeypatch, folder):
    """A mirror; ``fetch(answer)`` asks it, with nothing else to fall back on."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.packed, server.asked = packed, []
    threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [url])
    monkeypatch.setattr(module.sys, "executable", shutil.which("false"))
    monkeypatch.setattr(module, "TIMEOUT", 0.5)

    def fetch(answer):
        server.answer = answer
        return find_files(folder, folder / "cache")[0]

    yield server, fetch
    server.shutdown()
    server.server_close()


def whole(name, body):
    """What an honest mirror answers."""
    return len(body), body
