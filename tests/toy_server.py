"""A web server on this machine, for cohorts whose images are behind addresses."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class ToyServer:
    """`failing` {path: status of the answer}; `fetched` counts the bodies that were sent, by path. `cut` are the paths
    of which half the bytes are sent, `stuck` those that are never answered."""

    url: str = ""
    failing: dict[str, int] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    fetched: Counter[str] = field(default_factory=Counter)
    closing: threading.Event = field(default_factory=threading.Event)


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, state: ToyServer, **options: Any) -> None:
        self.state = state
        super().__init__(*arguments, **options)

    def do_HEAD(self) -> None:
        if not self._answered():
            super().do_HEAD()

    def do_GET(self) -> None:
        if not self._answered():
            self.state.fetched[self._name] += 1
            super().do_GET()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        body = source.read()
        with suppress(ConnectionError):  # of a client that only wanted the headers
            outputfile.write(body[: len(body) // 2] if self._name in self.state.cut else body)

    @property
    def _name(self) -> str:
        return self.path.partition("?")[0]

    def _answered(self) -> bool:
        if self._name in self.state.stuck:
            self.state.closing.wait(20)
        if status := self.state.failing.get(self._name):
            self.send_error(status)
            return True
        return False

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[ToyServer]:
    """The files of `folder` under `url`, while the block runs."""
    state = ToyServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, state=state, directory=str(folder)))
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
