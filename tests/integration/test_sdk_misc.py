"""What the server says about itself, called through Kestra's official Python SDK."""

from __future__ import annotations

from .kestra import Kestra
from .sdk import client


def test_configuration(kestra: Kestra) -> None:
    misc = client(kestra).misc
    configuration = misc.configuration()
    assert configuration.version.startswith("2.")
    assert configuration.edition.value == "OSS"
    assert misc.login_configuration().is_basic_auth_initialized is True
    assert misc.basic_auth_validation_errors() == []
