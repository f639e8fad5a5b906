# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The OpenAPI document: FastAPI's own, plus what only this API knows (scopes and problem details)."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from . import models, problems
from .auth import needed_scope

ERROR_STATUSES = ("400", "401", "403", "404", "405", "408", "409", "412", "413", "421", "422", "429", "503", "504")


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the document. All errors are problems, and each operation names the scope that it needs."""
    if app.openapi_schema:
        return app.openapi_schema
    document = FastAPI.openapi(app)
    document["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    schemas = document["components"]["schemas"]
    schemas["Problem"] = models.Problem.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = {"content": {problems.PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            responses = operation["responses"]
            responses.pop("422", None)
            if path in ("/health", "/problems/{kind}"):
                operation["security"] = []
                continue
            scope = needed_scope(method.upper(), path)
            operation["security"] = [{"bearer": []}]
            operation["description"] = f"{operation.get('description', '')}\n\nNeeds the scope {scope}.".strip()
            for status in ERROR_STATUSES:
                responses.setdefault(status, {"description": "Problem", **problem})
            if "202" in responses and method != "get":
                responses.setdefault("200", responses["202"] | {"description": "The job has ended."})
    app.openapi_schema = document
    return document
