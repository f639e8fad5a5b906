"""Take away what this tool made."""

from __future__ import annotations

import shutil

from . import engine
from .engine import docker, say
from .settings import IMAGE_LABEL, LABEL, as_root, cache_dir, run


def _listed(*arguments: str) -> list[str]:
    return docker(*arguments, "--filter", f"label={LABEL}=1", "--quiet").stdout.split()


def clean(*, caches: bool = False) -> None:
    """Remove hosts, registry, volumes and network of this tool, then stop the engine if this tool started it.

    With `caches` the images, the builder's cache and the cache directory go too.
    """
    if engine.answers():
        containers = _listed("ps", "--all")
        if containers:
            docker("rm", "--force", "--volumes", *containers)
        volumes = _listed("volume", "ls")
        if volumes:
            docker("volume", "rm", *volumes)
        networks = _listed("network", "ls")
        if networks:
            docker("network", "rm", *networks)
        say(f"removed {len(containers)} containers, {len(volumes)} volumes, {len(networks)} networks")
        if caches:
            _remove_images()
    engine.stop_engine()
    if caches:
        directory = cache_dir()
        # debootstrap kept packages there as root.
        shutil.rmtree(directory, ignore_errors=True)
        if directory.exists():
            run(as_root(["rm", "-rf", str(directory)]))
        say(f"removed {directory}")


def _remove_images() -> None:
    images = docker(
        "images", "--filter", f"label={IMAGE_LABEL}=1", "--format", "{{.Repository}}:{{.Tag}}"
    ).stdout.split()
    tagged = [image for image in images if "<none>" not in image]
    if tagged:
        docker("rmi", "--force", *tagged)
    docker("image", "prune", "--force", "--filter", f"label={IMAGE_LABEL}=1")
    docker("builder", "prune", "--force", "--all")
    say(f"removed {len(tagged)} images and the builder's cache")
