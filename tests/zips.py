"""Programs as the roles put them on hosts: a package in one zip file."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

MAIN = "import {module}\n\n{module}.{function}()\n"


def build(path: Path, sources: dict[str, Path], main: str = "", interpreter: str = "") -> Path:
    """Write directories and files, by their names in the zip, as a library or as a program; return its path.

    `main` is "module:function", and `interpreter` what the first line of a program names.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for prefix, source in sources.items():
            for found in sorted(source.rglob("*")) if source.is_dir() else [source]:
                if found.is_file() and "__pycache__" not in found.parts:
                    name = f"{prefix}/{found.relative_to(source)}" if source.is_dir() else prefix
                    archive.writestr(zipfile.ZipInfo(name), found.read_bytes())
        if main:
            module, _colon, function = main.partition(":")
            archive.writestr(zipfile.ZipInfo("__main__.py"), MAIN.format(module=module, function=function))
    path.write_bytes((f"#!{interpreter}\n".encode() if interpreter else b"") + buffer.getvalue())
    path.chmod(0o755 if interpreter else 0o644)
    return path
