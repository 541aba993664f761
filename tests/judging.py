"""A judge behind an address that is served by a thread, a judge that says what it is told to, and one on disk that never learnt anything."""
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from eval.judges import Endpoint, Judge, JudgeError
from mm.language import Fresh, WordLevel
from tests.vlms import CONFIG, WORDS


@dataclass
class Server:
    """url: up to the version. bodies, headers: of the requests so far, in order of arrival."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def judge(self, **given: Any) -> Endpoint:
        return Endpoint(self.url, "wise", **{"backoff": 0.0, "retries": 2, "timeout": 5.0, **given})


@contextmanager
def served(rule: Callable[[str], str | tuple[int, str]]) -> Iterator[Server]:
    """rule: the last message -> the reply, or an HTTP status and a body."""
    found, lock = Server(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                found.bodies.append({**body, "path": self.path})
                found.headers.append(dict(self.headers))
                said = rule(body["messages"][-1]["content"])
            status, text = said if isinstance(said, tuple) else (200, json.dumps({"choices": [{"message": {"role": "assistant", "content": said}}]}))
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Told(Judge):
    """Replies by rule, and breaks off after so many replies: as a kill does, or because it is gone."""

    def __init__(self, rule: Callable[[str], str], replies: int = 10**9, killed: bool = False) -> None:
        self.rule = rule
        self.rule_part = "a rule"  # what a result says of it
        self.replies = replies
        self.killed = killed
        self.system, self.max_tokens = "", 8
        self.asked: list[str] = []

    @property
    def name(self) -> str:
        return "told"

    def ask(self, prompts: Sequence[str]) -> Iterator[tuple[int, str]]:
        for index, prompt in enumerate(prompts):
            if not self.replies:
                raise KeyboardInterrupt if self.killed else JudgeError("the judge told is gone")
            self.replies -= 1
            self.asked.append(prompt)
            yield index, self.rule(prompt)


def judge_directory(path: Path) -> Path:
    """A causal LM with random weights that knows a few words, as transformers saves it."""
    Fresh({"model_type": "llama", **CONFIG}, WordLevel(WORDS)).model.save_pretrained(path)
    WordLevel(WORDS).read().save_pretrained(path)
    return path
