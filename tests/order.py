"""In which order tests run, and which of them share a process."""

from __future__ import annotations

# What has a host of its own, and so need not wait for the shared one.
OWN_HOST = (
    "tests/system/test_debian12_scenario.py",
    "tests/system/test_foreign_host.py",
    "tests/system/test_readme_lines.py",
)
# Of the tests on the shared host: what provisions it and looks at each role, what takes longest, what breaks it.
CORE = "tests/system/test_default_scenario.py"
LONGEST = ("tests/system/test_air_gap.py", "tests/system/test_environments.py")
LAST = "tests/chaos/test_nothing_leaked.py"
HOST = "host"


# They need an n8n, and no Kestra.
N8N = ("test_n8n_", "test_workflows_")


def scope(nodeid: str) -> str:
    """Return what a test shares: the test host, the live servers, or nothing but its file."""
    file = nodeid.partition("::")[0]
    folder = file.split("/")[1]
    if folder in ("system", "chaos") and file not in OWN_HOST:
        return HOST
    if folder == "integration" and file.rpartition("/")[2].startswith(N8N):
        return "n8n"
    return folder if folder in ("integration", "controllers") else file


def rank(nodeid: str) -> tuple[int, int]:
    """Return the place of a test in the order.

    The quickest news comes first, on all processes, while images are built. Then one process takes the shared host, and
    another one the live servers and, after them, the hosts of single files.
    """
    file = nodeid.partition("::")[0]
    if file.startswith(("tests/lint/", "tests/unit/")):
        return (0, 0)
    if file in OWN_HOST:
        return (3, 0)
    if scope(nodeid) != HOST:
        return (2, 0)
    if file == CORE:
        return (1, 0)
    if file.startswith("tests/chaos/"):
        return (1, 4 if file == LAST else 3)
    return (1, 2 if file in LONGEST else 1)
