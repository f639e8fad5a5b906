# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dependencies of the routes: the service, checked parameters, and requests that create jobs."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Path, Query, Request, Response

from . import models
from .multipass import not_none
from .problems import ApiError
from .service import Service
from .settings import Token
from .store import QueuedJob, Size


def get_service(request: Request) -> Service:
    """Return the application's service."""
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(get_service)]
InstancePath = Annotated[models.Name, Path(examples=["web-1"])]
SnapshotPath = Annotated[models.Name, Path(examples=["before-upgrade"])]
JobPath = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
GuestPathQuery = Annotated[models.GuestPath, Query(alias="path", examples=["/home/ubuntu/report.txt"])]
WaitQuery = Annotated[
    int, Query(alias="wait", ge=0, le=600, description="How many seconds to wait for the job to end.")
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[ -~]{1,200}$",
        description="If the same request is sent again with the same key, it returns the first job.",
    ),
]


LimitQuery = Annotated[int | None, Query(alias="limit", ge=1, le=1000)]
AfterQuery = Annotated[
    models.Name | None, Query(alias="after", description="A name: list those behind it. See `next`.")
]
Item = TypeVar("Item")


def page(
    items: list[Item], name: Callable[[Item], str], after: str | None, limit: int | None
) -> tuple[list[Item], str | None]:
    """Return the items of a page, which are sorted by name, and the value of `after` for the next page."""
    rest = [item for item in items if after is None or name(item) > after]
    if limit is None:
        return rest, None
    return rest[:limit], name(rest[limit - 1]) if len(rest) > limit else None


class JobRequest:
    """A request that creates a job, or returns the job that the same request created before."""

    def __init__(
        self,
        request: Request,
        response: Response,
        service: ServiceDep,
        wait: WaitQuery = 0,
        key: IdempotencyKey = None,
    ) -> None:
        self._request = request
        self._response = response
        self._service = service
        self._wait = wait
        self._key = key
        self._token: Token = request.state.token

    async def submit(
        self,
        kind: str,
        target: str,
        instances: list[str],
        body: dict[str, Any] | None = None,
        *,
        check: bool = True,
        asked: dict[str, Any] | None = None,
    ) -> models.Job:
        """Return the job, new or repeated, after the wait that the client asked for.

        `asked` is what the client sent, if the service added to it.
        """
        service, body = self._service, body or {}
        # What is asked for, and not how it is written: a client may format the same request in another way.
        content = json.dumps(body if asked is None else asked, sort_keys=True)
        request = [self._request.method, self._request.url.path, self._query(), content]
        digest = "model:" + hashlib.sha256("\0".join(request).encode(errors="surrogatepass")).hexdigest()
        found = await self._repeated()
        if found is None and check and not self._has_pending(kind, target, instances):
            await service.operations.check(kind, target, body)

        async def allowed() -> dict[str, Size]:
            self._has_pending(kind, target, instances)
            return await service.limits.check(self._token.name, kind, target, body)

        job = QueuedJob(uuid.uuid4().hex, kind, target, instances, body, token=self._token.name)
        job_id, fingerprint = found or await service.jobs.submit(
            job, idempotency=self._key, fingerprint=digest, check=allowed
        )
        # Version 1.0 stored a digest of the bytes, which cannot be compared.
        if fingerprint.startswith("model:") and fingerprint != digest:
            detail = "this Idempotency-Key was used for another request; send a new key"
            raise ApiError(422, "key-reused", detail)
        self._request.state.audit.update(job=job_id, kind=kind, target=target, repeated=job_id != job.id)
        await service.jobs.wait(job_id, self._wait)
        shown = not_none(await service.jobs.read(job_id))
        self._response.status_code = 200 if self._wait and shown.state in models.ENDED else 202
        self._response.headers["Location"] = f"/jobs/{job_id}"
        return shown

    def _query(self) -> str:
        pairs = [f"{name}={value}" for name, value in self._request.query_params.multi_items() if name != "wait"]
        return "&".join(pairs)

    async def _repeated(self) -> tuple[str, str] | None:
        """Return the id and the fingerprint of the job that this token's key created, or None."""
        return await self._service.store.repeated(self._token.name, self._key) if self._key else None

    def _has_pending(self, kind: str, target: str, instances: list[str]) -> bool:
        """Return whether a pending job decides what is possible; raise ApiError 409 for a second launch."""
        pending = [job for name in instances for job in self._service.jobs.pending(name)]
        launching = [job for job in pending if job.kind == "launch" and job.target == target]
        if kind == "launch" and launching:
            raise ApiError(409, "instance-exists", f"instance {target} is being launched by job {launching[0].id}")
        return bool(pending)


JobRequestDep = Annotated[JobRequest, Depends()]
