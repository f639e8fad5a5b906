"""Every module on each Python of this machine that a host may have; the Python of the tests is always one of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import ansible
import pytest
from ansible_collections.devorch.orchestration.plugins.modules import kestra_flows

from ..fake_kestra import PASSWORD, USERNAME, FakeKestra

ROOT = Path(__file__).parents[3]
# Files of pure Python serve all versions; PyYAML and others then do without their faster halves.
SEARCHED = (Path(kestra_flows.__file__ or "").parents[5], Path(ansible.__file__).parents[1], ROOT)
LOAD = """
import importlib, json, pathlib, sys
sys.dont_write_bytecode = True
options = json.load(sys.stdin)
plugins = pathlib.Path("plugins")
for file in sorted([*plugins.glob("modules/*.py"), *plugins.glob("module_utils/**/*.py")]):
    name = ".".join(file.relative_to(plugins).with_suffix("").parts)
    importlib.import_module("ansible_collections.devorch.orchestration.plugins." + name)
from tests.unit.in_process import call
print(json.dumps([sys.version_info[:2], call("kestra_flows", options)]))
"""


def pythons() -> dict[str, str]:
    """Return the interpreters by version: those of the path, of pyenv, and the one that runs this."""
    places = [Path(each) for each in os.environ.get("PATH", "").split(os.pathsep) if each]
    places += sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/*/bin"))
    found = {f"3.{sys.version_info.minor}": sys.executable}
    for version in (f"3.{minor}" for minor in range(10, 15)):
        for program in (place / f"python{version}" for place in places):
            # A shim of pyenv stands for versions that may not be chosen.
            works = program.is_file() and subprocess.run([program, "-c", ""], capture_output=True, check=False)
            if works and works.returncode == 0:
                found.setdefault(version, str(program))
    return found


@pytest.mark.parametrize(("version", "program"), pythons().items())
def test_modules_load_and_run(version: str, program: str, tmp_path: Path) -> None:
    text = "id: a\nnamespace: team\ntasks:\n  - id: say\n    type: io.kestra.plugin.core.log.Log\n    message: hi\n"
    (tmp_path / "a.yml").write_text(text, encoding="utf-8")
    with FakeKestra() as server:
        login = {"url": server.url, "username": USERNAME, "password": PASSWORD}
        done = subprocess.run(
            [program, "-c", LOAD],
            input=json.dumps({**login, "src": [str(tmp_path)], "remote_src": True}),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SEARCHED))},
            capture_output=True,
            text=True,
            check=False,
        )
        assert server.flow_writes
    assert done.returncode == 0, done.stderr
    used, result = json.loads(done.stdout.splitlines()[-1])
    assert used == [int(part) for part in version.split(".")]
    assert result["msg"] == "1 created, 0 updated, 0 unchanged", result
