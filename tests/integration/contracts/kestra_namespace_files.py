"""What `kestra_namespace_files` keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..kestra import Kestra
from . import Case

ODD = {
    "plain.txt": b"hello\n",
    "with blank.txt": b"blank\n",
    "ü/☃ 😀.txt": "snow ☃\n".encode(),
    "100%.txt": b"percent",
    "question?#&=+.txt": b"query",
    ".hidden": b"",
    "deep/er/est/file": b"deep",
    "deep/er/other": b"less",
    "archive.zip": b"PK\x03\x04 is not an archive",
    "bytes.bin": bytes(range(256)) * 40,
}


def upload(kestra: Kestra, namespace: str, path: str, content: bytes) -> None:
    """Write a file as somebody else would."""
    answer = kestra.call(
        "POST", f"/namespaces/{namespace}/files", params={"path": path}, files={"fileContent": ("content", content)}
    )
    assert answer.status_code == 200, answer.text


def write(directory: Path, files: Mapping[str, bytes]) -> Path:
    """Write the files of a directory."""
    for name, content in files.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return directory


def cases(kestra: Kestra, namespace: str, directory: Path) -> Iterator[Case]:
    """Each case has a namespace and a directory of its own."""

    def options(name: str, files: Mapping[str, bytes], **more: Any) -> dict[str, Any]:
        return {"namespace": f"{namespace}.{name}", "src": str(write(directory / name, files)), **more}

    def there(name: str, files: Mapping[str, bytes]) -> Any:
        def prepare() -> None:
            for path, content in files.items():
                upload(kestra, f"{namespace}.{name}", f"/{path}", content)

        return prepare

    yield Case("create", options("create", ODD))
    yield Case("create-below", options("below", {"a/b.txt": b"x"}, dest="/some where/else/", remote_src=True))
    several = {f"f{number}": b"%d" % number for number in range(9)}
    yield Case("update-some", options("some", several | {"f1": b"new"}), there("some", several))
    yield Case("update-one", options("one", {"a": b"new", "b/c": b"b"}), there("one", {"a": b"old", "b/c": b"b"}))
    yield Case("unchanged", options("same", ODD), there("same", ODD), changed=False)
    yield Case("extra", options("extra", {"a": b"a"}), there("extra", {"a": b"a", "mine": b"x"}), changed=False)
    pruned = options("prune", {"kept/a": b"new"}, dest="d", prune=True)
    yield Case("prune", pruned, there("prune", {"d/kept/a": b"a", "d/gone/b": b"b", "outside": b"c"}))
    ignored = {".kestraignore": b"*.pyc\n", "a.py": b"a", "a.pyc": b"compiled"}
    yield Case("ignore", options("ignore", ignored, prune=True, prune_limit="70%"), there("ignore", ignored))


def examples(kestra: Kestra, namespace: str, directory: Path) -> dict[str, Any]:
    """Scripts next to the playbook, queries elsewhere, and a report that nobody needs any more."""
    write(directory / "scripts", {"load.py": b"print(1)\n", "lib/common.py": b"", ".kestraignore": b"*.pyc\n"})
    write(directory / "elsewhere", {f"{number}.sql": b"select %d" % number for number in range(5)})
    for number in range(6):
        upload(kestra, "company.team", f"/sql/reports/{number}.sql", b"select 0")
    return {"kestra_password": kestra.password, "queries": str(directory / "elsewhere")}
