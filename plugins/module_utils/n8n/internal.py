# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The calls of n8n's page that an API key needs: n8n has no public way to make the first one.

They are internal to n8n, and may change with any version. Whatever uses them is here. Seen on 2.41.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from http.cookies import SimpleCookie
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.n8n.client import Http, N8nConnection, N8nError

COOKIE = "n8n-auth"


class N8nPage:
    """A session with n8n as its page has it. Every method raises N8nError where it fails."""

    def __init__(self, connection: N8nConnection, secrets: Sequence[str] = ()) -> None:
        self.connection = connection
        self.http = Http(connection, pool_size=1)
        self.http.hide(secrets)

    def close(self) -> None:
        self.http.close()

    def _call(self, method: str, path: str, doing: str, content: Any = None) -> tuple[Any, Any]:
        """Return the data of an answer, and its headers."""
        headers = {"Accept": "application/json"}
        body = None
        if content is not None:
            body = json.dumps(content).encode("utf-8")
            headers["Content-Type"] = "application/json"
        response = self.http.send(method, f"/rest/{path}", doing, body=body, headers=headers)
        response = self.http.expect(response, doing, (200, 201), _hint)
        try:
            value = response.json()
        except ValueError as error:
            message = "the answer is not JSON"
            raise N8nError(doing, message, kind="answer", hint="Something else than n8n answers at url.") from error
        return (value["data"] if isinstance(value, dict) and "data" in value else value), response.headers

    def log_in(self, email: str, password: str) -> None:
        """Log in as a user."""
        doing = f"log in to n8n as {email}"
        content = {"emailOrLdapLoginId": email, "password": password}
        _user, headers = self.http.repeat(
            lambda: self._call("POST", "login", doing, content), lambda error: error.is_transient
        )
        cookie = SimpleCookie(headers.get("Set-Cookie", "")).get(COOKIE)
        if cookie is None:
            raise N8nError(doing, "the answer has no session", kind="answer")
        self.http.hide([cookie.value])
        self.http.add_headers({"Cookie": f"{COOKIE}={cookie.value}"})

    def make_key(self, label: str) -> str:
        """Return a new API key with all rights of the user, instead of one with the same label."""
        scopes, _headers = self._call("GET", "api-keys/scopes", "read the rights of an API key")
        for key in self._keys(label):
            self._call("DELETE", f"api-keys/{key['id']}", f"delete the API key {label}")
        content = {"label": label, "expiresAt": None, "scopes": scopes}
        doing = f"make the API key {label}"
        key, _headers = self._call("POST", "api-keys", doing, content)
        if not isinstance(key, dict) or not isinstance(key.get("rawApiKey"), str):
            raise N8nError(doing, "the answer has no key", kind="answer")
        self.http.hide([key["rawApiKey"]])
        return str(key["rawApiKey"])

    def _keys(self, label: str) -> list[dict[str, Any]]:
        found, _headers = self._call("GET", "api-keys", "list the API keys")
        # The list of newer versions comes in pages, with a count.
        entries = found.get("items", found.get("data")) if isinstance(found, dict) else found
        return [entry for entry in entries or [] if isinstance(entry, dict) and entry.get("label") == label]

    def key_works(self, api_key: str) -> bool:
        """Return whether n8n accepts a key."""
        self.http.hide([api_key])
        doing = "try the API key"
        headers = {"X-N8N-API-KEY": api_key}
        response = self.http.send("GET", "/api/v1/workflows", doing, params={"limit": 1}, headers=headers)
        return self.http.expect(response, doing, (200, 401), _hint).status_code == 200


def _hint(status: int) -> str | None:
    return {
        401: "Check email and password.",
        404: "Check url, and that n8n's public API is not disabled.",
        429: "Too many logins. Try again later.",
    }.get(status)
