"""A judge behind an address: any server that speaks OpenAI's chat protocol (vLLM, llama.cpp, Ollama, OpenAI itself)."""
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Retry
from urllib3.exceptions import HTTPError

from eval.frame.benchmark import Row
from eval.judges.base import Judge, JudgeError

PASSING = (408, 429, 500, 502, 503, 504)  # statuses that may be another one soon
SHOWN = 300  # characters of a server's explanation in an error


class Endpoint(Judge):
    """POSTs each prompt to `<url>/chat/completions` at temperature 0.

    Args:
        url: up to the version, like "http://localhost:8000/v1". model: as the server calls it.
        key: NAME of the environment variable that holds the key, None where the server wants none. The key itself is written nowhere.
        system: text before every prompt. max_tokens: of a reply.
        request: further fields of the request, like {seed: 0}; null takes one away, for servers that refuse it ({max_tokens: null}).
        timeout: seconds for a connection, and for the reply. retries: after a connection that failed, a timeout, or one of the statuses 408, 429,
            500, 502, 503, 504; the pause doubles from `backoff` seconds on, or is what the server asks for. threads: prompts at the same time.
    """

    def __init__(self, url: str, model: str, key: str | None = None, system: str = "", max_tokens: int = 256, request: dict[str, Any] | None = None,
                 timeout: float = 60.0, retries: int = 5, backoff: float = 1.0, threads: int = 8) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("a judge's url is like http://localhost:8000/v1, without a query, a user or a password; found one with the scheme "
                             f"{parts.scheme!r} and the host {parts.hostname!r}")
        if key is not None and not key.isidentifier():
            raise ValueError("a judge's key is the NAME of an environment variable, like OPENAI_API_KEY; what was given is none, and not shown here")
        if threads < 1 or retries < 0 or timeout <= 0:
            raise ValueError(f"a judge has threads >= 1, retries >= 0 and timeout > 0; got {threads}, {retries} and {timeout}")
        self.url = url.rstrip("/")
        self.model = model
        self.key = key
        self.system = system
        self.max_tokens = max_tokens
        self.request = request
        self.timeout = timeout
        self.retries = retries
        self.backoff = backoff
        self.threads = threads

    @property
    def name(self) -> str:
        return f"{self.model} at {self.url}"

    @property
    def terms(self) -> Row:
        return {**super().terms, "request": self.request or {}}

    def check(self) -> None:
        self._headers()

    def ask(self, prompts: Sequence[str]) -> Iterator[tuple[int, str]]:
        """After the first failure nothing new is asked, and replies under way still come."""
        failure: JudgeError | None = None
        self.check()
        pool = ThreadPoolExecutor(self.threads)
        try:
            asked = {pool.submit(self.reply, prompt): index for index, prompt in enumerate(prompts)}
            under_way = set(asked)
            while under_way:
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    try:
                        reply = future.result()
                    except JudgeError as error:
                        failure = failure or error
                        under_way = {other for other in under_way if not other.cancel()}
                    else:
                        yield asked[future], reply
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        if failure is not None:
            raise failure

    def reply(self, prompt: str) -> str:
        """To one prompt. Raises JudgeError."""
        messages = [{"role": "system", "content": self.system}] * bool(self.system) + [{"role": "user", "content": prompt}]
        body = {"model": self.model, "messages": messages, "temperature": 0, "max_tokens": self.max_tokens, **(self.request or {})}
        retry = Retry(total=self.retries, allowed_methods=None, status_forcelist=PASSING, backoff_factor=self.backoff, raise_on_status=False)
        try:
            response = self._connections.request(
                "POST", f"{self.url}/chat/completions", json={name: value for name, value in body.items() if value is not None},
                headers=self._headers(), timeout=self.timeout, retries=retry, redirect=False)
        except HTTPError as error:
            why = getattr(error, "reason", None) or error
            raise JudgeError(f"the judge {self.name} cannot be reached after {self.retries} retries: {why}") from error
        return self._content(response)

    def _content(self, response: BaseHTTPResponse) -> str:
        said = " ".join(response.data.decode("utf-8", "replace").split())
        shown = said.replace(os.environ.get(self.key or "") or "\0", "***")[:SHOWN]
        if response.status != 200:
            raise JudgeError(f"the judge {self.name} refused with HTTP status {response.status}: {shown}")
        try:
            content = response.json()["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError):
            content = None
        if not isinstance(content, str):
            raise JudgeError(f"the judge {self.name} sent (HTTP status 200) what is no chat completion with a text: {shown}")
        return content

    def _headers(self) -> dict[str, str]:
        """Raises ValueError where the environment lacks the key."""
        if self.key is None:
            return {}
        if not os.environ.get(self.key):
            raise ValueError(f"the judge {self.name} needs its key in the environment variable {self.key}, which is not set")
        return {"Authorization": f"Bearer {os.environ[self.key]}"}

    @cached_property
    def _connections(self) -> PoolManager:
        """Through the proxy of the environment, if there is one for this host."""
        parts = urlsplit(self.url)
        proxy = getproxies().get(parts.scheme)
        if proxy and not proxy_bypass(str(parts.hostname)):
            return ProxyManager(proxy, maxsize=self.threads)
        return PoolManager(maxsize=self.threads)
