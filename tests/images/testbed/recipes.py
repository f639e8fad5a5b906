"""What images there are, and the hash of everything that decides what is in one."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .settings import IMAGES_DIR, ImagesError, role_version

IGNORED = ("__pycache__", "target", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache")
INCLUDED_PACKAGES = "ca-certificates"
# Raise it when images must be built again although no file of theirs changed.
SCHEME = "2"
HUB_PREFIX = "library/"
# Declared releases of ansible-core that need a newer Python than requirements.lock, and the package that brings each.
CONTROLLERS = {"2.20": "13.8.0", "2.21": "14.5.0"}


@dataclass(frozen=True)
class Recipe:
    """One image: `tag` is what it is called here, `official` its path on Docker Hub when roles pull it there."""

    name: str
    tag: str
    context: Path | None = None
    args: dict[str, str] = field(default_factory=dict)
    official: str | None = None
    suite: str | None = None
    minutes: float = 1

    @property
    def base(self) -> str | None:
        """Return the local image that the recipe starts from, None for one that starts from nothing."""
        if self.context is None:
            return None
        dockerfile = (self.context / "Dockerfile").read_text(encoding="utf-8")
        return base_image(dockerfile, self.args)


def base_image(dockerfile: str, args: dict[str, str]) -> str | None:
    """Return the first image built here (localhost/..., or n8n's) that a FROM line of a Dockerfile names."""
    values = dict(re.findall(r"^ARG\s+(\w+)=(\S+)", dockerfile, re.MULTILINE)) | args
    for line in re.findall(r"^FROM\s+(?:--\S+\s+)*(\S+)", dockerfile, re.MULTILINE):
        image = re.sub(r"\$\{?(\w+)\}?", lambda match: values.get(match.group(1), ""), line)
        if image.startswith(("localhost/", "n8nio/")):
            return image
    return None


def _debian(suite: str) -> Recipe:
    return Recipe(f"debian:{suite}", f"localhost/debian:{suite}", suite=suite)


def _testhost(suite: str) -> Recipe:
    return Recipe(
        f"testhost:{suite}",
        f"localhost/testhost:{suite}",
        context=IMAGES_DIR / "testhost",
        args={"BASE": f"localhost/debian:{suite}"},
    )


def _postgres() -> Recipe:
    version = role_version("postgres")
    return Recipe(
        "postgres",
        f"postgres:{version}",
        context=IMAGES_DIR / "postgres",
        args={"PG_MAJOR": version.split(".")[0]},
        official=f"{HUB_PREFIX}postgres:{version}",
    )


def _former_postgres() -> Recipe:
    """Return the major version that upgrades start from."""
    return Recipe(
        "postgres:16",
        "postgres:16",
        context=IMAGES_DIR / "postgres",
        args={"PG_MAJOR": "16", "PG_NPM": "16.14.0-beta.17"},
        official=f"{HUB_PREFIX}postgres:16",
    )


def _n8n() -> Recipe:
    version = role_version("n8n")
    return Recipe(
        "n8n",
        f"n8nio/n8n:{version}",
        context=IMAGES_DIR / "n8n",
        args={"N8N_VERSION": version},
        official=f"n8nio/n8n:{version}",
        minutes=6,
    )


def _n8n_runners() -> Recipe:
    version = role_version("n8n")
    return Recipe(
        "n8n-runners",
        f"n8nio/runners:{version}",
        context=IMAGES_DIR / "n8n-runners",
        args={"BASE": _n8n().tag},
        official=f"n8nio/runners:{version}",
    )


def _former_n8n() -> Recipe:
    """Return the minor version that upgrades start from."""
    version = "2.40.7"
    return Recipe(
        f"n8n:{version}",
        f"n8nio/n8n:{version}",
        context=IMAGES_DIR / "n8n",
        args={"N8N_VERSION": version, "LOCK": version},
        official=f"n8nio/n8n:{version}",
        minutes=6,
    )


def _kestra() -> Recipe:
    version = role_version("kestra")
    return Recipe(
        "kestra",
        f"kestra/kestra:{version}",
        context=IMAGES_DIR.parent / "kestra_server",
        official=f"kestra/kestra:{version}",
        minutes=4,
    )


def _dind() -> Recipe:
    return Recipe("dind", "localhost/devorch-dind:latest", context=IMAGES_DIR / "dind")


def _controller(core: str) -> Recipe:
    return Recipe(
        f"controller:{core}",
        f"localhost/controller:{core}",
        context=IMAGES_DIR / "controller",
        args={"ANSIBLE": CONTROLLERS[core]},
    )


def _registry() -> Recipe:
    return Recipe("registry", "localhost/devorch-registry:latest", context=IMAGES_DIR / "registry")


def _apt_repository() -> Recipe:
    return Recipe("aptrepo", "localhost/devorch-aptrepo:latest", context=IMAGES_DIR / "aptrepo")


def _stores() -> Recipe:
    return Recipe("stores", "localhost/devorch-stores:latest", context=IMAGES_DIR / "stores")


FACTORIES: dict[str, Callable[[], Recipe]] = {
    "debian:trixie": lambda: _debian("trixie"),
    "testhost:trixie": lambda: _testhost("trixie"),
    "n8n": _n8n,
    "n8n:2.40.7": _former_n8n,
    "n8n-runners": _n8n_runners,
    "postgres": _postgres,
    "postgres:16": _former_postgres,
    "kestra": _kestra,
    "registry": _registry,
    "aptrepo": _apt_repository,
    "debian:bookworm": lambda: _debian("bookworm"),
    "testhost:bookworm": lambda: _testhost("bookworm"),
    "dind": _dind,
    "stores": _stores,
    "controller:2.20": lambda: _controller("2.20"),
    "controller:2.21": lambda: _controller("2.21"),
}
DEFAULT = ("debian:trixie", "testhost:trixie", "n8n", "postgres", "kestra", "registry", "aptrepo")
OFFICIAL = ("postgres", "n8n", "kestra")


def get(name: str) -> Recipe:
    """Return the recipe with this name, or the one of this tag."""
    if name in FACTORIES:
        return FACTORIES[name]()
    for factory in FACTORIES.values():
        recipe = factory()
        if name in (recipe.tag, recipe.official):
            return recipe
    raise ImagesError(f"no image is called '{name}'; there are: {', '.join(FACTORIES)}")


def with_bases(names: list[str]) -> list[Recipe]:
    """Return the recipes of these names and of all that they are built on, each after its base."""
    ordered: dict[str, Recipe] = {}

    def add(recipe: Recipe) -> None:
        if recipe.name in ordered:
            return
        if recipe.base:
            add(get(recipe.base))
        ordered[recipe.name] = recipe

    for name in names:
        add(get(name))
    return list(ordered.values())


def ignore_patterns(context: Path) -> list[str]:
    """Return the patterns of the context's .dockerignore, without comments and negations."""
    path = context / ".dockerignore"
    if not path.is_file():
        return []
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line.strip("/") for line in lines if line and not line.startswith(("#", "!"))]


def context_files(context: Path) -> Iterator[Path]:
    """Yield the files of a build context that can reach the image, sorted, as paths relative to it."""
    patterns = ignore_patterns(context)
    for path in sorted(context.rglob("*")):
        relative = path.relative_to(context)
        if any(part in IGNORED for part in relative.parts) or path.is_dir():
            continue
        names = [str(relative), *(str(parent) for parent in relative.parents)]
        if not any(fnmatch.fnmatch(name, pattern) for name in names for pattern in patterns):
            yield relative


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def inputs(recipe: Recipe, base_id: str | None, mirrors: tuple[str, str]) -> dict[str, str]:
    """Return a short hash for each thing that decides the image's content; only hashes, no value, are in it."""
    found = {"way of building": _digest(SCHEME.encode())}
    if recipe.context is None:
        found["mirror"] = _digest("\n".join(mirrors).encode())
        found["packages"] = _digest(INCLUDED_PACKAGES.encode())
        found["suite"] = _digest(str(recipe.suite).encode())
        return found
    for relative in context_files(recipe.context):
        path = recipe.context / relative
        executable = bool(path.stat().st_mode & 0o100)
        found[f"file {relative}"] = _digest(path.read_bytes() + bytes([executable]))
    for name, value in sorted(recipe.args.items()):
        found[f"argument {name}"] = _digest(value.encode())
    if base_id:
        found[f"base {recipe.base}"] = _digest(base_id.encode())
    return found


def recipe_hash(parts: dict[str, str]) -> str:
    """Return one hash over all inputs of an image."""
    return hashlib.sha256("\n".join(f"{name}={parts[name]}" for name in sorted(parts)).encode()).hexdigest()[:16]


def changes(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Return the names of the inputs that were added, removed or changed."""
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
