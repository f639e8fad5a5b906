"""Build the images whose recipe changed, two at a time, and say why."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from . import recipes
from .engine import docker, docker_cli, find_program, install, say
from .recipes import Recipe
from .settings import IMAGE_LABEL, ImagesError, as_root, cache_dir, debian_mirrors, host_settings, run

HASH_LABEL = "devorch.recipe"
INPUTS_LABEL = "devorch.inputs"
WORKERS = 2
PROXIES = ("http_proxy", "https_proxy", "no_proxy")


def log_file(recipe: Recipe) -> Path:
    """Return the file that takes a build's output."""
    directory = cache_dir() / "logs"
    directory.mkdir(exist_ok=True)
    return directory / f"{recipe.name.replace(':', '-')}.log"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold an exclusive lock of this name among all processes that share the cache directory."""
    directory = cache_dir() / "locks"
    directory.mkdir(exist_ok=True)
    with (directory / name.replace(":", "-").replace("/", "-")).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def image_id(tag: str) -> str | None:
    """Return the id of a local image, None when there is no such image."""
    done = docker("image", "inspect", "--format", "{{.Id}}", tag, check=False)
    return done.stdout.strip() or None if done.returncode == 0 else None


def labels(tag: str) -> dict[str, str]:
    """Return the labels of a local image, none when there is no such image."""
    done = docker("image", "inspect", "--format", "{{json .Config.Labels}}", tag, check=False)
    found: dict[str, str] = (json.loads(done.stdout) or {}) if done.returncode == 0 else {}
    return found


def wanted_inputs(recipe: Recipe) -> dict[str, str]:
    """Return the hashed inputs that an image of this recipe would have now."""
    base_id = image_id(recipe.base) if recipe.base else None
    return recipes.inputs(recipe, base_id, debian_mirrors())


def reason(recipe: Recipe, wanted: dict[str, str]) -> str | None:
    """Return why the image has to be built, None when the one there is fits its recipe."""
    if image_id(recipe.tag) is None:
        return "not built yet"
    present = labels(recipe.tag)
    if present.get(HASH_LABEL) == recipes.recipe_hash(wanted):
        return None
    changed = recipes.changes(json.loads(present.get(INPUTS_LABEL, "{}")), wanted)
    return f"changed: {', '.join(changed[:6])}{' ...' if len(changed) > 6 else ''}"


def label_arguments(wanted: dict[str, str]) -> dict[str, str]:
    """Return the labels that an image gets."""
    return {
        IMAGE_LABEL: "1",
        HASH_LABEL: recipes.recipe_hash(wanted),
        INPUTS_LABEL: json.dumps(wanted, sort_keys=True, separators=(",", ":")),
    }


def build_arguments(
    recipe: Recipe,
    wanted: dict[str, str],
    secrets: dict[str, Path],
    environment: dict[str, str],
    no_cache: bool = False,
) -> list[str]:
    """Return the arguments of `docker` that build an image from a Dockerfile."""
    arguments = ["build", "--progress=plain", "--tag", recipe.tag]
    if no_cache:
        arguments.append("--no-cache")
    for name, value in sorted(recipe.args.items()):
        arguments += ["--build-arg", f"{name}={value}"]
    for name in PROXIES:
        for variant in (name, name.upper()):
            if variant in environment:
                # Without a value the client takes it from the environment, so it is in no process list.
                arguments += ["--build-arg", variant]
    for name, path in sorted(secrets.items()):
        arguments += ["--secret", f"id={name},src={path}"]
    for name, value in label_arguments(wanted).items():
        arguments += ["--label", f"{name}={value}"]
    return [*arguments, str(recipe.context)]


def _logged(command: list[str], recipe: Recipe) -> None:
    path = log_file(recipe)
    with path.open("ab") as log:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
    if done.returncode != 0:
        tail = path.read_text(encoding="utf-8", errors="replace").splitlines()[-40:]
        raise ImagesError(f"{recipe.name}: the build failed, its log is {path}:\n" + "\n".join(tail))


def sources_list(suite: str, mirrors: tuple[str, str]) -> str:
    """Return the apt sources of a base image: the release, its updates and its security fixes."""
    main, security = mirrors
    return f"deb {main} {suite} main\ndeb {main} {suite}-updates main\ndeb {security} {suite}-security main\n"


def _build_debian(recipe: Recipe, wanted: dict[str, str]) -> None:
    suite = str(recipe.suite)
    if find_program("debootstrap") is None:
        install(["debootstrap"])
    packages = cache_dir() / "debs" / suite
    packages.mkdir(parents=True, exist_ok=True)
    mirrors = debian_mirrors()
    with tempfile.TemporaryDirectory(prefix="debootstrap-", dir=cache_dir()) as directory:
        root = Path(directory) / "root"
        command = [
            "debootstrap",
            "--variant=minbase",
            f"--cache-dir={packages}",
            f"--include={recipes.INCLUDED_PACKAGES}",
        ]
        script = Path("/usr/share/debootstrap/scripts") / suite
        # An older debootstrap may not know the release yet; all Debian releases are made alike.
        scripts = [] if script.exists() else [str(script.with_name("sid"))]
        try:
            _logged(as_root([*command, suite, str(root), mirrors[0], *scripts]), recipe)
            sources = sources_list(suite, mirrors)
            run(as_root(["sh", "-c", 'cat > "$1"', "sh", f"{root}/etc/apt/sources.list"]), stdin=sources)
            _import(recipe, wanted, root)
        finally:
            run(as_root(["rm", "-rf", str(root)]))


def _import(recipe: Recipe, wanted: dict[str, str], root: Path) -> None:
    left_out = ("./dev/*", "./proc/*", "./var/cache/apt/*", "./var/lib/apt/lists/*", "./var/log/*.log")
    pack = as_root(["tar", "-C", str(root), *[f"--exclude={pattern}" for pattern in left_out], "-c", "."])
    changes = ['CMD ["bash"]', "ENV LANG=C.UTF-8"]
    changes += [f"LABEL {name}={json.dumps(value)}" for name, value in label_arguments(wanted).items()]
    load = [docker_cli(), "import", *[word for change in changes for word in ("--change", change)], "-", recipe.tag]
    with log_file(recipe).open("ab") as log:
        tar = subprocess.Popen(pack, stdout=subprocess.PIPE, stderr=log)
        done = subprocess.run(load, stdin=tar.stdout, stdout=log, stderr=log, check=False)
        if tar.stdout:
            tar.stdout.close()
        if tar.wait() != 0 or done.returncode != 0:
            raise ImagesError(f"{recipe.name}: importing the file system failed, see {log_file(recipe)}")


def _expected(recipe: Recipe) -> str:
    known = _timings().get(recipe.name)
    if known is not None:
        return f"took {known:.0f} s last time"
    return f"about {recipe.minutes:.0f} min from nothing"


def _timings() -> dict[str, float]:
    path = cache_dir() / "timings.json"
    try:
        found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _remember(recipe: Recipe, seconds: float) -> None:
    with locked("timings"):
        known = _timings() | {recipe.name: round(seconds, 1)}
        (cache_dir() / "timings.json").write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")


def build_one(recipe: Recipe, *, force: bool = False) -> bool:
    """Build one image unless the one there fits its recipe; return whether it was built."""
    with locked(f"image-{recipe.name}"):
        wanted = wanted_inputs(recipe)
        why = "asked for" if force else reason(recipe, wanted)
        if why is None:
            say(f"{recipe.name}: cached ({recipe.tag})")
            return False
        say(f"{recipe.name}: building {recipe.tag}, {why} ({_expected(recipe)}; log {log_file(recipe)})")
        log_file(recipe).write_bytes(b"")
        previous = image_id(recipe.tag)
        started = time.monotonic()
        with _heartbeat(recipe, started):
            if recipe.context is None:
                _build_debian(recipe, wanted)
            else:
                secrets = host_settings().secrets()
                arguments = build_arguments(recipe, wanted, secrets, dict(os.environ), no_cache=force)
                _logged([docker_cli(), *arguments], recipe)
        seconds = time.monotonic() - started
        _remember(recipe, seconds)
        if previous and previous != image_id(recipe.tag):
            # Refused, rightly, while a container or another image needs it.
            docker("rmi", previous, check=False)
        say(f"{recipe.name}: built in {seconds:.0f} s, {size_mb(recipe.tag)} MB")
        return True


@contextmanager
def _heartbeat(recipe: Recipe, started: float) -> Iterator[None]:
    finished = threading.Event()

    def beat() -> None:
        while not finished.wait(60):
            say(f"{recipe.name}: still building after {time.monotonic() - started:.0f} s")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def size_mb(tag: str) -> int:
    """Return the size of a local image in MB (10^6 bytes), 0 when there is no such image."""
    done = docker("image", "inspect", "--format", "{{.Size}}", tag, check=False)
    return round(int(done.stdout.strip() or 0) / 1e6) if done.returncode == 0 else 0


def build(names: list[str], *, force: bool = False) -> None:
    """Build these images and what they are built on, independent ones two at a time.

    With `force` the named images are built again without the builder's cache. All builds that can be tried are
    tried; ImagesError then names every one that failed.
    """
    waiting = recipes.with_bases(names)
    asked = {recipes.get(name).name for name in names}
    bases = {recipe.name: recipe.base for recipe in waiting}
    running: dict[Future[bool], Recipe] = {}
    failures: list[str] = []
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        while waiting or running:
            pending = {recipe.tag for recipe in [*waiting, *running.values()]}
            ready = [recipe for recipe in waiting if bases[recipe.name] not in pending]
            for recipe in ready[: WORKERS - len(running)]:
                waiting.remove(recipe)
                running[pool.submit(build_one, recipe, force=force and recipe.name in asked)] = recipe
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                recipe = running.pop(future)
                try:
                    future.result()
                except ImagesError as error:
                    failures.append(str(error))
                    waiting = [other for other in waiting if other.base != recipe.tag]
    if failures:
        raise ImagesError("\n\n".join(failures))


def status() -> list[str]:
    """Return a line an image: whether it is there, fits its recipe, and how large it is."""
    lines = []
    for name in recipes.FACTORIES:
        recipe = recipes.get(name)
        if recipe.context is not None and not (recipe.context / "Dockerfile").is_file():
            lines.append(f"{name:18} {recipe.tag:36} no recipe")
            continue
        why = reason(recipe, wanted_inputs(recipe))
        lines.append(f"{name:18} {recipe.tag:36} {size_mb(recipe.tag):5} MB  {why or 'up to date'}")
    return lines
