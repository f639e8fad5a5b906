"""The sidecar's package as the role installs it: one zip file, from which nothing is unpacked."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

from ..zips import build
from .service import FILES, TOKENS, Service, bearer, write_tokens

PAGE = FILES / "src" / "multipass_sidecar" / "page"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zip") / "multipass_sidecar.zip"
    return build(path, {"multipass_sidecar": FILES / "src" / "multipass_sidecar"})


def check(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program's check. Python may write bytecode, but finds no directory for it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, "-m", "multipass_sidecar", "--check", *arguments],
        env=environment | {"PYTHONPATH": str(package)},
        cwd=package.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_zip_has_every_module_and_the_page(package: Path) -> None:
    source = FILES / "src"
    files = {path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    with zipfile.ZipFile(package) as archive:
        assert set(archive.namelist()) == {str(path.relative_to(source)) for path in files}
    # zipimport finds a package only by its __init__.py.
    assert {path.parent / "__init__.py" for path in files if path.suffix == ".py"} <= files
    modules = sorted(".".join(path.relative_to(source).with_suffix("").parts) for path in files if path.suffix == ".py")
    code = f"import importlib; [importlib.import_module(name) for name in {modules!r}]"
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(package)}, check=True, timeout=60)


def test_files_are_checked_from_the_zip(package: Path, tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens", TOKENS)
    (tmp_path / "sidecar.toml").write_text("max_parallel = 2\n")
    files = ("--config", str(tmp_path / "sidecar.toml"), "--tokens", str(tmp_path / "tokens"))
    result = check(package, *files)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    (tmp_path / "tokens").write_text("nonsense\n")
    result = check(package, *files)
    assert result.returncode == 2 and "line 1 is not a name" in result.stderr
    (tmp_path / "sidecar.toml").write_text("max_parallel = 0\n")
    result = check(package, "--config", str(tmp_path / "sidecar.toml"))
    assert result.returncode == 2 and "max_parallel" in result.stderr
    assert list(package.parent.iterdir()) == [package]


def test_page_and_api_are_served_from_the_zip(package: Path, tmp_path: Path) -> None:
    with Service(tmp_path, package=package) as service:
        for path, name in (("/", "page.html"), ("/page.css", "page.css"), ("/page.js", "page.js")):
            answer = httpx.get(f"{service.url}{path}")
            assert answer.status_code == 200 and answer.content == (PAGE / name).read_bytes()
        assert httpx.get(f"{service.url}/instances", headers=bearer()).json()["instances"] == []
    assert list(package.parent.iterdir()) == [package]
