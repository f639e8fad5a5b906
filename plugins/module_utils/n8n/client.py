# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client of n8n's public REST API, with an API key.

The API has no call that creates or updates. What it may not be asked twice is decided by the callers; what may, is
repeated here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import (
    HttpSession,
    ParamValue,
    ServiceError,
    address_problem,
    error_message,
)

if TYPE_CHECKING:
    import requests

Result = TypeVar("Result")
WEBHOOKS = "webhook"
PAGE = 250
"""The most entries that n8n returns at once."""


class N8nError(ServiceError):
    """A call to n8n that failed."""


@dataclass(frozen=True)
class N8nConnection:
    """How to reach n8n; ValueError for options that cannot work.

    C(timeout) is in seconds and counts for connecting and for each wait for data. A request is repeated C(retries)
    times, with pauses of C(backoff) seconds, twice that, and so on.
    """

    url: str
    api_key: str | None = None
    validate_certs: bool = True
    ca_path: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    timeout: float = 30
    retries: int = 3
    backoff: float = 0.5

    def __post_init__(self) -> None:
        problem = address_problem(self.url, "http://127.0.0.1:5678", "api_key") or key_problem(self.api_key)
        if problem is None and re.search(r"/(api|rest)(/.*)?$", urlsplit(self.url).path):
            problem = f"url is {self.url!r}; it is the root of n8n, without /api or anything behind it"
        if problem:
            raise ValueError(problem)
        if self.client_key and not self.client_cert:
            raise ValueError("client_key is set, but client_cert is not; set both")


def key_problem(api_key: str | None) -> str | None:
    """Return what is wrong with an API key, or None; the key is not in it."""
    if api_key and not re.fullmatch(r"[!-~]+", api_key):
        return "api_key has a character that a header cannot have, such as a line break or a blank; remove it"
    return None


class Http(HttpSession):
    """A session with an API key."""

    service = "n8n"
    api = "n8n's API"
    error = N8nError
    silence = "n8n hangs or is overloaded. Check its log, restart it, or raise timeout."

    def __init__(self, connection: N8nConnection, pool_size: int = 8) -> None:
        super().__init__(connection, (connection.api_key,), pool_size)
        if connection.api_key:
            self.add_headers({"X-N8N-API-KEY": connection.api_key})


class N8nClient:
    """The API, as far as the modules need it. Every method raises N8nError where it fails."""

    def __init__(self, connection: N8nConnection, pool_size: int = 8) -> None:
        self.connection = connection
        self.http = Http(connection, pool_size)
        self._has_drafts = True

    @property
    def whole_messages(self) -> list[str]:
        """What the server said, where a message has less of it."""
        return self.http.whole_messages

    def close(self) -> None:
        self.http.close()

    def retry(self, function: Callable[[], Result]) -> Result:
        """Call a function that may be called twice, and call it again while the server fails for a moment."""
        return self.http.repeat(function, lambda error: error.is_transient)

    def request(
        self,
        method: str,
        path: Sequence[str],
        doing: str,
        *,
        expected: Sequence[int] = (200,),
        params: Mapping[str, ParamValue] | None = None,
        content: Any = None,
    ) -> requests.Response:
        """Send a request below C(/api/v1); return the answer if its status is an expected one."""
        headers = {"Accept": "application/json"}
        body = None
        if content is not None:
            body = json.dumps(content).encode("utf-8")
            headers["Content-Type"] = "application/json"
        address = "/api/v1/" + "/".join(quote(segment, safe="") for segment in path)
        response = self.http.send(method, address, doing, params=params, body=body, headers=headers)
        return self.http.expect(response, doing, expected, self._hint)

    def _hint(self, status: int) -> str | None:
        return {
            401: "Check api_key." if self.connection.api_key else "Set api_key.",
            403: "The API key has no such scope, or n8n's license has no such feature.",
            404: "Check that url is the root of n8n, and that its public API is not disabled.",
        }.get(status)

    def json(self, response: requests.Response, doing: str) -> Any:
        """Return the JSON of an answer."""
        try:
            return response.json()
        except ValueError as error:
            message = f"the answer is {error_message(response, self.http.api)[:200]!r}, where JSON was expected"
            hint = "Something else than n8n answers at url."
            raise N8nError(doing, message, kind="answer", status=response.status_code, hint=hint) from error

    def object(self, response: requests.Response, doing: str) -> dict[str, Any]:
        """Return the JSON object of an answer."""
        value = self.json(response, doing)
        if not isinstance(value, dict):
            raise N8nError(doing, "the answer is not a JSON object", kind="answer")
        return value

    def call(self, method: str, path: Sequence[str], doing: str, content: Any = None, **params: str) -> dict[str, Any]:
        """Send a request that may be sent twice, and return the object of its answer."""

        def once() -> dict[str, Any]:
            answer = self.request(method, path, doing, expected=(200, 201), params=params or None, content=content)
            value = self.json(answer, doing)
            # Some calls answer only that they were carried out.
            return value if isinstance(value, dict) else {"data": value}

        return self.retry(once)

    def find(self, path: Sequence[str], doing: str, **params: str) -> dict[str, Any] | None:
        """Return the object at a path, or None where there is none."""

        def once() -> dict[str, Any] | None:
            response = self.request("GET", path, doing, expected=(200, 404), params=params or None)
            return None if response.status_code == 404 else self.object(response, doing)

        return self.retry(once)

    def pages(self, path: Sequence[str], doing: str, **params: str) -> Iterator[dict[str, Any]]:
        """Yield all entries of a list, page by page."""
        cursor: dict[str, str] = {}
        while True:
            # A cursor carries the filters too.
            page = self.call("GET", path, doing, **{"limit": str(PAGE), **params, **cursor})
            entries = page.get("data")
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise N8nError(doing, "the answer contains no list", kind="answer")
            yield from entries
            if not page.get("nextCursor") or not entries:
                return
            cursor = {"cursor": str(page["nextCursor"])}

    def listed(self, path: Sequence[str], doing: str, **params: str) -> list[dict[str, Any]]:
        """Return all entries of a list."""
        return list(self.pages(path, doing, **params))

    def workflows(self, **filters: str) -> list[dict[str, Any]]:
        """Return the workflows with their contents, archived ones included."""
        found = self.listed(["workflows"], "list the workflows", **filters)
        ids = [str(workflow.get("id")) for workflow in found]
        if len(set(ids)) != len(ids):
            # It is asked again, since workflows came or went between two pages.
            raise N8nError("list the workflows", "a workflow is on two pages", kind="answer")
        return found

    def workflow(self, workflow_id: str) -> dict[str, Any] | None:
        """Return a workflow, or None."""
        return self.find(["workflows", workflow_id], f"read workflow {workflow_id}")

    def create_workflow(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Store a new workflow, as a draft; it is not sent again if its answer is lost."""
        doing = f"create workflow {content.get('name')}"
        return self.object(self.request("POST", ["workflows"], doing, expected=(200, 201), content=content), doing)

    @property
    def has_drafts(self) -> bool:
        """Whether a published workflow can be stored without being published, as far as is known."""
        return self._has_drafts

    def update_workflow(self, workflow_id: str, content: Mapping[str, Any], only_draft: bool = False) -> dict[str, Any]:
        """Replace the content of a workflow. What is published stays, if the server can do that.

        With C(only_draft), nothing is stored if it cannot.
        """
        path, doing = ["workflows", workflow_id], f"update workflow {content.get('name')}"
        if self._has_drafts:
            try:
                return self.call("PUT", path, doing, content, publishIfActive="false")
            except N8nError as error:
                if error.status != 400 or "publishIfActive" not in error.message:
                    raise
                self._has_drafts = False
        if only_draft:
            hint = "Use publish=keep, or a newer n8n."
            raise N8nError(doing, "this n8n publishes a published workflow when it is stored", kind="other", hint=hint)
        return self.call("PUT", path, doing, content)

    def publish(self, workflow_id: str, name: str, version: str | None = None) -> dict[str, Any]:
        """Publish a version of a workflow, or what it has now."""
        doing = f"publish workflow {name}"
        content = {"versionId": version} if version else {}
        try:
            return self.call("POST", ["workflows", workflow_id, "activate"], doing, content)
        except N8nError as error:
            if error.status != 400 or "conflict" not in error.message.lower():
                raise
            error.hint = "Another published workflow has the same webhook."
            raise

    def unpublish(self, workflow_id: str, name: str) -> dict[str, Any]:
        """Take a workflow out of service."""
        return self.call("POST", ["workflows", workflow_id, "deactivate"], f"unpublish workflow {name}", {})

    def set_tags(self, workflow_id: str, name: str, tag_ids: Sequence[str]) -> None:
        """Give a workflow these tags and no other ones."""
        path, doing = ["workflows", workflow_id, "tags"], f"tag workflow {name}"
        self.retry(lambda: self.request("PUT", path, doing, content=[{"id": tag} for tag in tag_ids]))

    def tags(self) -> dict[str, str]:
        """Return the ids of all tags by their names."""
        return {str(tag["name"]): str(tag["id"]) for tag in self.pages(["tags"], "list the tags")}

    def create_tag(self, name: str) -> str:
        """Return the id of a tag, which is created unless it exists."""
        doing = f"create tag {name}"

        def once() -> str | None:
            response = self.request("POST", ["tags"], doing, expected=(200, 201, 409), content={"name": name})
            return None if response.status_code == 409 else str(self.object(response, doing)["id"])

        return self.retry(once) or self.tags()[name]

    def archive(self, workflow_id: str, name: str) -> None:
        """Take a workflow out of service and hide it; it can be brought back."""
        self._stow(workflow_id, name, "archive")

    def unarchive(self, workflow_id: str, name: str) -> None:
        """Bring an archived workflow back, as a draft."""
        self._stow(workflow_id, name, "unarchive")

    def _stow(self, workflow_id: str, name: str, what: str) -> None:
        path, doing = ["workflows", workflow_id, what], f"{what} workflow {name}"

        def once() -> None:
            response = self.request("POST", path, doing, expected=(200, 400), content={})
            if response.status_code == 400:
                # It may have been done by a request whose answer was lost.
                now = self.workflow(workflow_id)
                if now is None or bool(now.get("isArchived")) is not (what == "archive"):
                    raise N8nError(doing, self.http.scrub(error_message(response, self.http.api)), status=400)

        self.retry(once)

    def delete_workflow(self, workflow_id: str, name: str) -> None:
        """Delete a workflow for good."""
        path, doing = ["workflows", workflow_id], f"delete workflow {name}"
        # Unpublishing ends a moment after its answer, and n8n answers 409 until then.
        self.http.repeat(
            lambda: self.request("DELETE", path, doing, expected=(200, 204, 404)),
            lambda error: error.is_transient or error.status == 409,
        )

    def webhook_methods(self, path: str) -> set[str]:
        """Return the methods that the running n8n answers at a webhook, without running its workflow."""
        doing = f"ask for the webhook {path}"
        headers = {"Origin": self.http.base, "Access-Control-Request-Method": "GET"}
        address = f"/{WEBHOOKS}/{quote(path)}"
        response = self.retry(lambda: self.http.send("OPTIONS", address, doing, headers=headers))
        allowed = response.headers.get("Access-Control-Allow-Methods", "")
        return {method.strip() for method in allowed.split(",")} - {"", "OPTIONS"}

    def credentials(self) -> list[dict[str, Any]]:
        """Return C(id), C(name) and C(type) of all credentials; their values are never readable."""
        return self.listed(["credentials"], "list the credentials")

    def credential_schema(self, kind: str) -> dict[str, Any] | None:
        """Return the JSON schema of a type of credentials, or None where n8n has no such type."""
        return self.find(["credentials", "schema", kind], f"read the type of credentials {kind}")
