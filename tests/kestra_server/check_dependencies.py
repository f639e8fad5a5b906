"""Fail unless every requirement of the file named on the command line is installed.

The test server's Script task runs this instead of installing: its image has a fixed set of packages.
"""

import importlib.metadata
import re
import sys
from pathlib import Path


def missing(requirements: list[str]) -> list[str]:
    """Return the requirements whose distribution is not installed; version bounds are not looked at."""
    installed = {normalized(distribution.metadata["Name"] or "") for distribution in importlib.metadata.distributions()}
    return [
        text for text in requirements if normalized(re.split(r"[^\w.-]", text.strip(), maxsplit=1)[0]) not in installed
    ]


def normalized(name: str) -> str:
    """Return a distribution's name as packaging tools compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    if absent := missing(Path(sys.argv[1]).read_text(encoding="utf-8").split("\n")):
        sys.exit(f"The test server's image does not have these dependencies and installs none: {', '.join(absent)}")
