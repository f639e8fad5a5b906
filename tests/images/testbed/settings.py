"""Paths, names and versions that the other modules share."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

IMAGES_DIR = Path(__file__).resolve().parent.parent
PROJECT_DIR = IMAGES_DIR.parent.parent
# Containers inherit an image's labels, so images have another label than what `clean` removes.
IMAGE_LABEL = "devorch.image"
LABEL = "devorch.test"
NETWORK = "devorch-test"
REGISTRY = "devorch-registry"
APT_REPOSITORY = "devorch-aptrepo"
CA_BUNDLES = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pki/tls/certs/ca-bundle.crt"))
APT_SETTINGS = ("Acquire::http::", "Acquire::https::", "Acquire::Check-", "Acquire::Retries")


class ImagesError(Exception):
    """Something that the caller must know about; its text is meant for a person."""


def cache_dir() -> Path:
    """Return the cache directory, made when missing: $DEVORCH_CACHE, else devorch-orchestration below the XDG cache."""
    chosen = os.environ.get("DEVORCH_CACHE")
    if chosen:
        path = Path(chosen)
    else:
        xdg = os.environ.get("XDG_CACHE_HOME")
        path = (Path(xdg) if xdg else Path.home() / ".cache") / "devorch-orchestration"
    path.mkdir(parents=True, exist_ok=True)
    return path


def read_default(text: str, variable: str) -> str:
    """Return the scalar that `variable: value` has at the top level of YAML text.

    PyYAML may be absent where this runs, so only plain and quoted scalars on one line are understood.
    """
    match = re.search(rf"^{re.escape(variable)}:[ \t]+(.+?)[ \t]*$", text, re.MULTILINE)
    if not match:
        raise ImagesError(f"no line '{variable}: <value>' found")
    value = match.group(1)
    quoted = re.fullmatch(r"""(["'])(.*?)\1(?:\s+#.*)?""", value)
    return quoted.group(2) if quoted else re.sub(r"\s+#.*$", "", value)


def role_version(role: str, project: Path = PROJECT_DIR) -> str:
    """Return `<role>_version` from the role's defaults, the only place where image versions are written."""
    path = project / "roles" / role / "defaults" / "main.yml"
    try:
        return read_default(path.read_text(encoding="utf-8"), f"{role}_version")
    except OSError as error:
        raise ImagesError(f"cannot read {path}: {error.strerror}") from error
    except ImagesError as error:
        raise ImagesError(f"{path}: {error}") from error


def run(
    command: list[str], *, check: bool = True, stdin: str | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command with captured output; raise ImagesError with its last lines when it fails and `check` is set."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    except FileNotFoundError as error:
        raise ImagesError(f"{command[0]}: command not found") from error
    except subprocess.TimeoutExpired as error:
        raise ImagesError(f"{' '.join(command[:4])} ... gave no answer in {timeout} s") from error
    if check and done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-20:])
        raise ImagesError(f"{' '.join(command[:4])} ... failed with {done.returncode}:\n{tail}")
    return done


def as_root(command: list[str]) -> list[str]:
    """Prefix a command with sudo when this process is not root."""
    return command if os.geteuid() == 0 else ["sudo", "-n", *command]


def apt_sources(texts: dict[str, str]) -> list[tuple[str, str]]:
    """Return (URI, suite) pairs from apt sources, in both formats; `texts` maps a file's name to its content."""
    found: list[tuple[str, str]] = []
    for name, text in texts.items():
        if name.endswith(".sources"):
            for stanza in re.split(r"\n\s*\n", text):
                fields = {
                    key.lower(): value.split()
                    for key, value in re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE)
                }
                if fields.get("enabled", ["yes"])[0].lower() not in ("no", "false"):
                    found += [(uri, suite) for uri in fields.get("uris", []) for suite in fields.get("suites", [])]
        else:
            found += re.findall(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)", text, re.MULTILINE)
    return found


def debian_mirrors(texts: dict[str, str] | None = None) -> tuple[str, str]:
    """Return the URIs of (Debian, Debian security) that this machine is configured with, else Debian's own."""
    if texts is None:
        paths = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
        texts = {path.name: path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file()}
    pairs = apt_sources(texts)
    # Other vendors use Debian's suite names too, but only a Debian mirror has the -updates suite of a release.
    releases = ("stable", "bookworm", "trixie", "forky")
    main = [uri for uri, suite in pairs if suite in {f"{release}-updates" for release in releases}]
    security = [uri for uri, suite in pairs if suite in {f"{release}-security" for release in releases}]
    mirror = os.environ.get("DEVORCH_DEBIAN_MIRROR") or (main or ["http://deb.debian.org/debian"])[0]
    fallback = re.sub(r"/debian/?$", "/debian-security", mirror)
    return mirror.rstrip("/"), (security or [fallback])[0].rstrip("/")


@dataclass(frozen=True)
class HostSettings:
    """What this machine needs to reach its package registries, handed on to builds and test hosts as it is."""

    ca: Path | None = None
    pip_conf: Path | None = None
    npmrc: Path | None = None
    maven: Path | None = None
    apt_conf: Path | None = None
    extra: tuple[Path, ...] = field(default=())

    def secrets(self) -> dict[str, Path]:
        """Return the BuildKit secrets: an id each and the file that it stands for."""
        named = {
            "ca": self.ca,
            "pip-conf": self.pip_conf,
            "npmrc": self.npmrc,
            "maven-settings": self.maven,
            "apt-conf": self.apt_conf,
        }
        return {name: path for name, path in named.items() if path is not None}


def _first(*candidates: Path | str | None) -> Path | None:
    return next((Path(path) for path in candidates if path and Path(path).is_file()), None)


def host_settings() -> HostSettings:
    """Find this machine's CA bundle and package managers' configuration files."""
    home = Path.home()
    pip_conf = _first(
        os.environ.get("PIP_CONFIG_FILE"),
        home / ".config/pip/pip.conf",
        home / ".pip/pip.conf",
        "/etc/pip.conf",
    )
    return HostSettings(
        ca=_first(os.environ.get("SSL_CERT_FILE"), *CA_BUNDLES),
        pip_conf=pip_conf,
        npmrc=_first(os.environ.get("NPM_CONFIG_USERCONFIG"), home / ".npmrc", "/etc/npmrc"),
        maven=_first(home / ".m2/settings.xml", "/etc/maven/settings.xml"),
        apt_conf=_apt_conf(),
        extra=_pip_certificates(pip_conf),
    )


def _pip_certificates(pip_conf: Path | None) -> tuple[Path, ...]:
    """Return the certificate files that pip's configuration names."""
    if pip_conf is None:
        return ()
    parser = configparser.RawConfigParser()
    parser.read(pip_conf, encoding="utf-8")
    names = [parser.get(section, "cert", fallback="") for section in parser.sections()]
    return tuple(Path(name) for name in dict.fromkeys(names) if name and Path(name).is_file())


def _apt_conf() -> Path | None:
    """Write apt's network settings (proxies, date checks) of this machine to the cache and return the file."""
    if not shutil.which("apt-config"):
        return None
    lines = [
        line
        for line in run(["apt-config", "dump"]).stdout.splitlines()
        if line.startswith(APT_SETTINGS) and not line.endswith('"";')
    ]
    path = cache_dir() / "apt.conf"
    path.touch(mode=0o600)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
