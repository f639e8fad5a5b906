"""Kestra's official Python SDK as a client of the test server.

The SDK forgives an answer that its models refuse: it then builds the model without checking. Here that is an error, so
that a call which returns is a call whose answer the models accept.
"""

from __future__ import annotations

import warnings
from typing import Any

from .kestra import Kestra

with warnings.catch_warnings():
    # One of its models has a field called `validate`.
    warnings.simplefilter("ignore", UserWarning)
    import kestrapy
    from kestrapy.base_api import BaseApi
    from kestrapy.exceptions import ApiException
    from kestrapy.models.query_filter import QueryFilter

__all__ = ["TENANT", "ApiException", "QueryFilter", "client", "kestrapy", "where"]

TENANT = "main"


def _refuse(data: dict[str, Any], model_type: type) -> Any:
    """Stand where the SDK builds a model without checking, and show what the check said."""
    model_type.from_dict(data)  # type: ignore[attr-defined]
    raise AssertionError(f"the SDK refused an answer as {model_type.__name__}: {data}")


def client(kestra: Kestra) -> kestrapy.KestraClient:
    """Return the SDK's client for a server; its models check every answer."""
    BaseApi._construct_model = staticmethod(_refuse)
    return kestrapy.KestraClient(host=kestra.url, username=kestra.username, password=kestra.password, timeout=120)


def where(field: str, operation: str, value: Any) -> QueryFilter:
    """Return a filter of a search."""
    return QueryFilter(field=field, operation=operation, value=value)
