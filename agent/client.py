"""HTTP to one gateway: JSON in, JSON out, every failure in words."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx

from agent.address import Address
from agent.errors import AwayError, CliError, NoGatewayError, RefusedError
from shared.protocol.codes import Code

TIMEOUT_S = 15.0
UNAUTHORIZED, SERVER_ERROR = 401, 500

#: Gives another key after the first was refused, or `None`.
Renew = Callable[[], str | None]


class Gateway:
    """A gateway as one caller sees it. Threads may share it."""

    def __init__(self, address: Address, key: str | None = None) -> None:
        self.address = address
        self.key = key
        self.renew: Renew | None = None
        self._http = httpx.Client(
            base_url=address.url,
            timeout=TIMEOUT_S,
            trust_env=not address.is_loopback,  # no proxy leads to this very machine
            headers={"user-agent": "baton-cli"},
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """Read something; query parameters that are `None` are left out."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._ask("GET", path, params=given)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Make or start something."""
        return self._ask("POST", path, json={} if body is None else body)

    def upload(self, path: str, content: bytes, **query: Any) -> Any:
        """Bring some bytes as they are; query parameters that are `None` are left out."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._ask("POST", path, content=content, params=given)

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        """Change something."""
        return self._ask("PATCH", path, json=body)

    def delete(self, path: str) -> None:
        """Remove something."""
        self._ask("DELETE", path)

    def download(self, path: str, media_type: str | None = None) -> Iterator[bytes]:
        """Read something large, piece by piece; of any type, unless one is named."""
        answer = self._answered("GET", path, stream=True)
        try:
            if not answer.is_success:
                answer.read()
                self._read(answer)
            found = answer.headers.get("content-type", "").partition(";")[0]
            if media_type is not None and found != media_type:
                raise NoGatewayError(self.address.url, "another type of content")
            yield from answer.iter_bytes()
        except httpx.HTTPError:
            raise CliError(
                f"The gateway at {self.address} ended the download halfway.",
                "Try again; its log has the reason.",
                code=Code.UNAVAILABLE,
            ) from None
        finally:
            answer.close()

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        return self._read(self._answered(method, path, **request))

    def _answered(
        self, method: str, path: str, *, stream: bool = False, **request: Any
    ) -> httpx.Response:
        answer = self._send(method, path, stream, **request)
        if answer.status_code == UNAUTHORIZED and self.renew is not None:
            renew, self.renew = self.renew, None  # once is enough
            if key := renew():
                self.key = key
                answer.close()
                answer = self._send(method, path, stream, **request)
        return answer

    def _send(self, method: str, path: str, stream: bool, **request: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            asked = self._http.build_request(method, path, headers=headers, **request)
            return self._http.send(asked, stream=stream)
        except httpx.ConnectError:
            raise AwayError(self.address.url) from None
        except httpx.TimeoutException:
            raise CliError(
                f"The gateway at {self.address} did not answer within {TIMEOUT_S:.0f} s.",
                "Look at its log, and at `/readyz`.",
                code="timeout",
            ) from None
        except httpx.HTTPError as error:
            # Of others' words only the kind is shown: they may quote what was sent.
            raise NoGatewayError(self.address.url, type(error).__name__) from None

    def _read(self, answer: httpx.Response) -> Any:
        if answer.is_success and not answer.content:
            return None
        try:
            body = answer.json()
        except ValueError:
            body = None
        if answer.is_success and isinstance(body, dict):
            return body
        problem = body.get("error") if isinstance(body, dict) else None
        if isinstance(problem, dict) and isinstance(problem.get("message"), str):
            code, request_id = str(problem.get("code")), problem.get("requestId")
            refused = RefusedError(
                code, problem["message"], str(request_id) if request_id else None
            )
            if code == Code.NOT_FOUND and self.address.has_path:
                refused.hint = f"{self.address} has a path; mostly a gateway's URL has none."
            raise refused
        if answer.status_code >= SERVER_ERROR:
            raise RefusedError(Code.UNAVAILABLE, f"{self.address} answers {answer.status_code}.")
        raise NoGatewayError(self.address.url, f"HTTP {answer.status_code}")


def part(text: str) -> str:
    """Text as one segment of a path; whatever it holds, it stays one."""
    return quote(text, safe="") if text not in ("", ".", "..") else "-"
