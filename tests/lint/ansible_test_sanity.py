"""Run `ansible-test sanity` over what the collection ships.

ansible-test wants a real tree below `ansible_collections/<namespace>/<name>`, keeps environments in the home directory,
and downloads the installer of pip from a server of its own. Here the tree is the content of the built archive, the home
directory is one in the cache, and pip comes from Python's `ensurepip`, so that nothing but the package index is needed.
"""

from __future__ import annotations

import ast
import configparser
import importlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("DEVORCH_CACHE") or Path.home() / ".cache" / "devorch-orchestration") / "ansible-test"

# What is left out is no option of the pip that ensurepip installs. ensurepip runs in a process of its own, since it
# sets PIP_CONFIG_FILE for the one it runs in.
GET_PIP = """
import subprocess, sys
DROP = ("--no-python-version-warning", "--no-setuptools", "--no-wheel")
subprocess.check_call([sys.executable, "-m", "ensurepip", "--upgrade"])
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *[a for a in sys.argv[1:] if a not in DROP]]))
"""


def run(*arguments: str) -> int:
    """Run `ansible-test sanity` with these arguments (such as names of files); return its exit code."""
    home = CACHE / "home"
    _prepare_home(home)
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "HOME": str(home), "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    with tempfile.TemporaryDirectory(prefix="ansible-test-") as directory:
        tree = _unpack(Path(directory), environment)
        # One Python: of others a machine may have a launcher without the interpreter behind it.
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        command = [str(scripts / "ansible-test"), "sanity", "--venv", "--python", python, "--color", "no", *arguments]
        return subprocess.run(command, cwd=tree, env=environment, stdin=subprocess.DEVNULL, check=False).returncode


def _unpack(directory: Path, environment: dict[str, str]) -> Path:
    """Build the collection, unpack it where ansible-test looks for it, and return that directory."""
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    tree = directory / "ansible_collections" / str(galaxy["namespace"]) / str(galaxy["name"])
    tree.mkdir(parents=True)
    build = ["ansible-galaxy", "collection", "build", str(ROOT), "--output-path", str(directory)]
    subprocess.run(build, env=environment, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(next(directory.glob("*.tar.gz"))) as archive:
        archive.extractall(tree, filter="data")
    # The archive has these two instead of galaxy.yml, which ansible-test asks for, as in a checkout.
    for name in ("MANIFEST.json", "FILES.json"):
        (tree / name).unlink()
    shutil.copy(ROOT / "galaxy.yml", tree)
    (tree / "tests").mkdir(exist_ok=True)
    shutil.copy(ROOT / "tests" / "config.yml", tree / "tests")
    return tree


def _prepare_home(home: Path) -> None:
    """Put pip's installer where ansible-test would have downloaded it to, and pip's settings where it reads them."""
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    (package,) = importlib.import_module("ansible_test").__path__
    source = Path(package, "_internal", "python_requirements.py").read_text(encoding="utf-8")
    for version in re.findall(r"pip='([\d.]+)'", source) or ["24.2"]:
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(GET_PIP, encoding="utf-8")
    # ansible-test takes every PIP_* variable out of the environment.
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    settings = configparser.RawConfigParser()
    settings.add_section("global")
    for name, value in re.findall(r"^[^.\n]+\.(\S+?)=(['\"].*['\"])$", listed, re.MULTILINE):
        settings.set("global", name, str(ast.literal_eval(value)))
    file = home / ".config" / "pip" / "pip.conf"
    file.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        settings.write(stream)


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]))
