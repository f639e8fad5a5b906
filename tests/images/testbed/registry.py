"""The network of the test hosts, the registry that they have as a mirror, and the apt repository."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from . import build, recipes
from .engine import docker, outer_mtu, say
from .recipes import Recipe
from .settings import APT_REPOSITORY, LABEL, NETWORK, REGISTRY, ImagesError

PORT = 5000
HUB = "registry-1.docker.io"
MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)


def ensure_network() -> None:
    """Make the user network of the test hosts, with the MTU of the way out."""
    if docker("network", "inspect", NETWORK, check=False).returncode == 0:
        return
    mtu = f"com.docker.network.driver.mtu={min(outer_mtu(), 1500)}"
    docker("network", "create", "--label", f"{LABEL}=1", "--opt", mtu, NETWORK)
    say(f"network: {NETWORK} made")


def container(name: str) -> dict[str, str] | None:
    """Return state, image id and labels' values of a container, None when there is none."""
    text = '{"state":{{json .State.Status}},"image":{{json .Image}},"labels":{{json .Config.Labels}}}'
    done = docker("container", "inspect", "--format", text, name, check=False)
    if done.returncode != 0:
        return None
    found = json.loads(done.stdout)
    return {**(found["labels"] or {}), "state": str(found["state"]), "image": str(found["image"])}


def _ensure_service(name: str, recipe: Recipe, arguments: list[str]) -> None:
    """Run a long-lived container of this image, again when the image is another one now."""
    image = build.image_id(recipe.tag)
    if image is None:
        raise ImagesError(f"{recipe.tag} is not there: build it with 'build {recipe.name}'")
    ensure_network()
    present = container(name)
    if present and present["image"] == image and present.get(LABEL) == "1":
        if present["state"] != "running":
            docker("start", name)
            say(f"{name}: started")
        return
    if present:
        docker("rm", "--force", "--volumes", name)
    common = ["--detach", "--name", name, "--label", f"{LABEL}=1", "--network", NETWORK, "--restart", "unless-stopped"]
    docker("run", *common, *arguments, recipe.tag)
    say(f"{name}: {'replaced' if present else 'started'}")


def registry_port() -> int:
    """Return the port of 127.0.0.1 on which this machine reaches the registry."""
    done = docker("port", REGISTRY, f"{PORT}/tcp", check=False)
    if done.returncode != 0 or not done.stdout.strip():
        raise ImagesError("the registry is not running: start it with 'registry'")
    return int(done.stdout.splitlines()[0].rpartition(":")[2])


def _get(url: str, accept: tuple[str, ...] = (), timeout: float = 5) -> tuple[int, bytes, dict[str, str]]:
    request = urllib.request.Request(url, headers={"Accept": ", ".join(accept)} if accept else {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.read(), {key.lower(): value for key, value in answer.headers.items()}
    except urllib.error.HTTPError as error:
        return error.code, b"", {key.lower(): value for key, value in error.headers.items()}


def _wait_registry(port: int, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if _get(f"http://127.0.0.1:{port}/v2/")[0] == 200:
                return
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(0.2)
    raise ImagesError(f"the registry did not answer on 127.0.0.1:{port} within {seconds:.0f} s")


def split_name(official: str) -> tuple[str, str]:
    """Split `repository:tag`; a missing tag is `latest`."""
    repository, _, tag = official.partition(":")
    return repository, tag or "latest"


def pushed_ids(port: int, official: str) -> set[str]:
    """Return the digests under which the registry knows an image: of its manifest and of its configuration."""
    repository, tag = split_name(official)
    status, body, headers = _get(f"http://127.0.0.1:{port}/v2/{repository}/manifests/{tag}", MANIFESTS)
    if status != 200:
        return set()
    return manifest_ids(body, headers)


def manifest_ids(body: bytes, headers: dict[str, str]) -> set[str]:
    """Return the digests in a manifest answer: an engine calls an image by one or the other."""
    found = {headers.get("docker-content-digest", ""), str(json.loads(body).get("config", {}).get("digest", ""))}
    return found - {""}


def push(recipe: Recipe, port: int) -> bool:
    """Push an image under its official name unless the registry has it; return whether it was pushed."""
    if recipe.official is None:
        raise ImagesError(f"{recipe.name} has no official name to be pushed under")
    image = build.image_id(recipe.tag)
    if image is None:
        raise ImagesError(f"{recipe.tag} is not there: build it with 'build {recipe.name}'")
    if image in pushed_ids(port, recipe.official):
        say(f"{recipe.name}: the registry has it")
        return False
    started = time.monotonic()
    target = f"127.0.0.1:{port}/{recipe.official}"
    say(f"{recipe.name}: pushing to the registry ({build.size_mb(recipe.tag)} MB)")
    docker("tag", recipe.tag, target)
    try:
        docker("push", target)
    finally:
        docker("rmi", target, check=False)
    say(f"{recipe.name}: pushed in {time.monotonic() - started:.0f} s")
    return True


def ensure_registry(names: list[str]) -> None:
    """Run the registry, and have the named images in it under their official names."""
    with build.locked("registry"):
        volume = ["--volume", f"{REGISTRY}:/var/lib/registry"]
        docker("volume", "create", "--label", f"{LABEL}=1", REGISTRY)
        alias = ["--network-alias", "registry", "--publish", f"127.0.0.1::{PORT}"]
        _ensure_service(REGISTRY, recipes.get("registry"), [*alias, *volume])
        port = registry_port()
        _wait_registry(port)
        # Packing a layer keeps one core busy.
        with ThreadPoolExecutor(max_workers=build.WORKERS) as pool:
            for pushed in [pool.submit(push, recipes.get(name), port) for name in names]:
                pushed.result()
    say(f"registry: http://registry:{PORT} on the network {NETWORK}, 127.0.0.1:{port} on this machine")


def ensure_apt_repository() -> str:
    """Run the apt repository; return the fingerprint of the key that signs it."""
    with build.locked("aptrepo"):
        _ensure_service(APT_REPOSITORY, recipes.get("aptrepo"), ["--network-alias", "aptrepo"])
    return docker("exec", APT_REPOSITORY, "cat", "/srv/fingerprint").stdout.strip()


def docker_hub_reachable(timeout: float = 5) -> bool:
    """Tell whether Docker Hub's registry answers, with or without asking for a token."""
    try:
        # Resolving has no time limit of its own in urllib, and most machines without a way out fail there.
        socket.getaddrinfo(HUB, 443, type=socket.SOCK_STREAM)
        return _get(f"https://{HUB}/v2/", timeout=timeout)[0] in (200, 401)
    except (OSError, urllib.error.URLError):
        return False
