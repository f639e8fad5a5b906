# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What speaks against a run, known from the variables and one look at the host.

The rules are pure. Each returns its problems as "variable: what is wrong. What to set." and never a secret value.
A variable that is absent, such as one whose type is wrong, is skipped: whoever reads the variables reports that.
The same holds for what the look at the host does not contain, such as C(calendars): for each expression of systemd that
was asked about, why systemd does not read it, or an empty text.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra import config_schema
from ansible_collections.devorch.orchestration.plugins.module_utils.versions import Image, another_major, numbers

SHARED = "common"
"""The role whose variables all services have."""
SERVICES = ("docker", "postgres", "sidecar", "kestra", "n8n", "backup")
IN_DOCKER = ("postgres", "kestra", "n8n")
DATABASE_USERS = ("kestra", "n8n")
TITLES = {"postgres": "PostgreSQL", "kestra": "Kestra", "n8n": "n8n"}
PROJECT = "orchestration"
SOCKET = "orchestration-sidecar.socket"
SNAPD = "/run/snapd.socket"

DISTRIBUTIONS: Mapping[str, Sequence[str]] = {"Debian": ("12", "13"), "Ubuntu": ("24.04", "26.04")}
"""What is supported: major versions of Debian, and releases of Ubuntu."""
POSTGRES = ("14", "15", "16", "17")
SIDECAR_PYTHON = (3, 11)

RENAMED: Mapping[str, str] = {"plan_only": "kestra_flows_plan_only", "rotate": "rotate_secrets"}
"""The present names of variables, by their old names."""

NEIGHBOURS = (
    *(f"{service}_{option}" for service in SERVICES for option in ("state", "purge_data")),
    "docker_registry_mirrors",
    "docker_insecure_registries",
    "kestra_database_password",
    "n8n_database_password",
    "sidecar_token",
)
"""The variables of services outside of the run that the rules of others ask for."""

MIB = 1048576
ABSOLUTE = re.compile(r'/[^\s"]+')
ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
UNQUOTABLE = re.compile(r"['\\\n]|[$][{]")
EMAIL = re.compile(r"[a-zA-Z0-9_!#$%&*+/=?`{|}~^.-]+@[a-zA-Z0-9.-]+")
PROXY = re.compile(r"(http://[^/@\s]+/?)?")
WILDCARDS = frozenset(("0.0.0.0", "::", "*", ""))  # noqa: S104
"""Addresses that listen on all of the host's."""
KEY_LENGTHS = (16, 24, 32)
"""Bytes of the keys that AES has."""


@dataclass(frozen=True)
class Situation:
    """A run before it begins: the variables of the services, the host as C(host_info) returns it, Ansible's facts.

    C(rendered) are texts that templates give, by the variable that names the template; C(missing_files) the variables
    that name a file of the controller that does not exist. Values may be texts, as C(-e name=value) gives them.
    """

    variables: Mapping[str, Any]
    host: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)
    services: Sequence[str] = SERVICES
    upgrade: bool = False
    rendered: Mapping[str, str] = field(default_factory=dict)
    missing_files: Sequence[str] = ()

    def given(self, name: str) -> bool:
        """Return whether a variable has a value."""
        return self.variables.get(name) is not None

    def text(self, name: str, default: str = "") -> str:
        """Return a variable as text."""
        value = self.variables.get(name)
        return default if value is None else str(value)

    def number(self, name: str) -> int | None:
        """Return a variable as a whole number, None if it is not one."""
        try:
            return int(self.text(name))
        except ValueError:
            return None

    def flag(self, name: str) -> bool:
        """Return a variable as a truth value."""
        return bool(boolean(self.variables.get(name) or False, strict=False))

    def items(self, name: str) -> list[Any]:
        """Return a variable as a list; a text has its items between commas."""
        value = self.variables.get(name)
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return list(value) if isinstance(value, (list, tuple)) else []

    def mapping(self, name: str) -> Mapping[str, Any]:
        """Return a variable as a dictionary."""
        value = self.variables.get(name)
        return value if isinstance(value, Mapping) else {}

    def present(self, service: str) -> bool:
        """Return whether a service is to be there after the run, as far as its own variable says."""
        return self.text(f"{service}_state", "present") == "present"

    def deployed(self) -> list[str]:
        """Return the services that this run deploys."""
        return [service for service in self.services if self.present(service)]

    @property
    def root(self) -> str:
        """The directory of everything."""
        return self.text("orchestration_root", "/opt/orchestration").rstrip("/")

    @property
    def release(self) -> str:
        """The version of the distribution as its table counts it."""
        kind = "" if self.facts.get("distribution") == "Ubuntu" else "major_"
        return str(self.facts.get(f"distribution_{kind}version", ""))

    def image(self, service: str) -> str:
        """Return the reference of a service's image, an empty string if its variables are not all there."""
        name, version = self.text(f"{service}_image"), self.text(f"{service}_version")
        # A loaded image has no digest of a registry.
        digest = "" if self.flag("orchestration_offline") else self.text(f"{service}_digest")
        return f"{name}:{version}{'@' if digest else ''}{digest}" if name and version else ""


Rule = Callable[[Situation], Iterable[str]]


def registries(reference: str, mirrors: Sequence[str] = (), insecure: Sequence[str] = ()) -> list[str]:
    """Return the addresses of the registries that Docker asks for an image, in its order."""
    try:
        host = Image.parse(reference).host
    except ValueError:
        return []
    if host == "docker.io":
        return [*mirrors, "https://registry-1.docker.io"]
    return [f"{'http' if host in insecure else 'https'}://{host}"]


def problems(
    variables: Mapping[str, Any],
    host: Mapping[str, Any],
    facts: Mapping[str, Any],
    upgrade: bool = False,
    *,
    services: Sequence[str] = SERVICES,
    rendered: Mapping[str, str] | None = None,
    missing_files: Sequence[str] = (),
) -> list[str]:
    """Return everything that speaks against a run, for all of its services at once."""
    situation = Situation(variables, host, facts, services, upgrade, rendered or {}, missing_files)
    rules = list(RULES)
    for service in SERVICES:
        if service in services:
            rules += DEPLOYMENT[service] if situation.present(service) else REMOVAL.get(service, ())
    return list(dict.fromkeys(problem for rule in rules for problem in rule(situation)))


def warnings(
    variables: Mapping[str, Any],
    host: Mapping[str, Any],
    facts: Mapping[str, Any],
    *,
    services: Sequence[str] = SERVICES,
) -> list[str]:
    """Return what a run does not fail at, and its operator may not have meant."""
    situation = Situation(variables, host, facts, services)
    return [warning for rule in WARNINGS for warning in rule(situation)]


def _or(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


# The host


def _distribution(situation: Situation) -> Iterator[str]:
    if not situation.deployed():
        return
    name = situation.facts.get("distribution")
    if not name:
        yield "ansible_facts: the distribution of the host is unknown. Let the play gather facts."
    elif situation.release not in DISTRIBUTIONS.get(str(name), ()):
        supported = [f"{supported} {_or(releases)}" for supported, releases in DISTRIBUTIONS.items()]
        version = situation.facts.get("distribution_version", "")
        yield f"{name} {version} is not supported. Use {', or '.join(supported)}."


def _memory(situation: Situation) -> Iterator[str]:
    found, needed = situation.host.get("memory_bytes"), situation.number("orchestration_minimum_memory")
    if situation.deployed() and found is not None and needed is not None and found < needed * MIB:
        yield (
            f"orchestration_minimum_memory: the host has {found // MIB} MiB of memory and needs {needed} MiB. Give it"
            " more, or lower orchestration_minimum_memory and kestra_java_opts."
        )


def _disk(situation: Situation) -> Iterator[str]:
    found, needed = situation.host.get("disk_free_bytes"), situation.number("orchestration_minimum_disk")
    if situation.deployed() and found is not None and needed is not None and found < needed * MIB:
        yield (
            f"orchestration_minimum_disk: {situation.root} has {found // MIB} MiB of free space and needs {needed}"
            " MiB. Free some, or set orchestration_root to a directory on a larger disk."
        )


def _root(situation: Situation) -> Iterator[str]:
    root = situation.text("orchestration_root", "/opt/orchestration")
    if not ABSOLUTE.fullmatch(root) or not root.strip("/"):
        yield f"orchestration_root: '{root}' is not an absolute path. Set it to one such as /opt/orchestration."


def _proxies(situation: Situation) -> Iterator[str]:
    for name in ("orchestration_http_proxy", "orchestration_https_proxy"):
        if not PROXY.fullmatch(situation.text(name)):
            # The value may hold a password.
            yield (
                f"{name}: the value is not an address like http://proxy.example.com:3128. Set it to one, without a user"
                " name and a password, which others could read in files of the host."
            )


def _bundle(situation: Situation) -> Iterator[str]:
    name = "orchestration_bundle"
    if not situation.flag("orchestration_offline"):
        return
    if not situation.text(name):
        yield (
            f"{name}: is empty, and orchestration_offline is true. Set {name} to the archive that playbooks/bundle.yml"
            " has made."
        )
    elif name in situation.missing_files:
        yield (
            f"{name}: the controller has no file {situation.text(name)}. Make it with playbooks/bundle.yml, or correct"
            " the path."
        )


def _purge(situation: Situation) -> Iterator[str]:
    for service in SERVICES:
        name = f"{service}_purge_data"
        if service in situation.services and situation.present(service) and situation.flag(name):
            yield (
                f"{name}: is true, and {service}_state is 'present'. Set {service}_state to 'absent' to remove the"
                f" data, or leave {name} out."
            )


# Ports


@dataclass(frozen=True)
class _Port:
    service: str
    variable: str
    number: int
    addresses: frozenset[str]

    @property
    def valid(self) -> bool:
        return 1 <= self.number <= 65535

    def collides(self, other: _Port) -> bool:
        """Return whether both cannot listen at the same time."""
        if self.number != other.number or not (self.valid and other.valid):
            return False
        # Two of one service are never the same, whatever the addresses: a mistake in any case.
        everywhere = WILDCARDS & (self.addresses | other.addresses)
        return self.service == other.service or bool(everywhere or self.addresses & other.addresses)


def _address(text: Any) -> str:
    plain = str(text).strip("[]")
    try:
        return str(ipaddress.ip_address(plain))
    except ValueError:
        return plain


def _ports(situation: Situation, service: str) -> Iterator[_Port]:
    addresses: dict[str, list[Any]] = {
        "sidecar_port": situation.items("sidecar_bind_addresses"),
        "kestra_port": [situation.text("kestra_bind_address")],
        "kestra_management_port": ["127.0.0.1"],
        "n8n_port": [situation.text("n8n_bind_address")],
    }
    for variable, listed in addresses.items():
        number = situation.number(variable)
        if variable.startswith(f"{service}_") and number is not None:
            yield _Port(service, variable, number, frozenset(map(_address, listed)))


def _equal_ports(situation: Situation) -> Iterator[str]:
    deployed = situation.deployed()
    ports = [port for service in SERVICES if service in deployed for port in _ports(situation, service)]
    for number, port in enumerate(ports):
        for other in ports[:number]:
            if port.collides(other):
                yield (
                    f"{port.variable}: the same as {other.variable} ({other.number}). Set one of them to another port."
                )


def _held_by_socket(situation: Situation, port: int) -> bool:
    unit = situation.host.get("units", {}).get(SOCKET, {})
    return unit.get("active") == "active" and any(
        re.search(rf":{port}(\s|$)", str(entry)) for entry in unit.get("listen", [])
    )


def _held_ports(service: str) -> Rule:
    def rule(situation: Situation) -> Iterator[str]:
        for port in _ports(situation, service):
            if not port.valid:
                yield f"{port.variable}: {port.number} is not a TCP port. Set it to a number from 1 to 65535."
                continue
            listener = situation.host.get("listeners", {}).get(str(port.number))
            if listener is None:
                continue
            ours = (
                _held_by_socket(situation, port.number)
                if service == "sidecar"
                else listener.get("project") == PROJECT  # Compose moves it
            )
            if not ours:
                holder = listener.get("container") or listener.get("process") or "another program"
                unit = f" ({listener['unit']})" if listener.get("unit") else ""
                yield (
                    f"{port.variable}: port {port.number} is in use by {holder}{unit}. Stop it, or set {port.variable}"
                    " to a free port."
                )

    return rule


# Images


def _malformed(situation: Situation, service: str) -> str:
    """Return the variable that makes a reference malformed."""
    if not re.fullmatch(r"\w[\w.-]{0,127}", situation.text(f"{service}_version"), re.ASCII):
        return f"{service}_version"
    try:
        Image.parse(f"{situation.text(f'{service}_image')}:1")
    except ValueError:
        return f"{service}_image"
    return f"{service}_digest"


def _image(service: str) -> Rule:
    def rule(situation: Situation) -> Iterator[str]:
        reference = situation.image(service)
        if not reference:
            return
        try:
            Image.parse(reference)
        except ValueError as error:
            yield f"{_malformed(situation, service)}: {error}. Correct the variable."
            return
        reasons = situation.host.get("registry_problems", {}).get(reference, {})
        asked = registries(
            reference, situation.items("docker_registry_mirrors"), situation.items("docker_insecure_registries")
        )
        missing = reference in situation.host.get("missing_images", ())
        if missing and not situation.flag("orchestration_offline") and len(reasons) >= len(asked):
            listed = "; ".join(f"{registry}: {reason}" for registry, reason in reasons.items())
            yield (
                f"{service}_version: {reference} is not on the host, and no registry gives it ({listed}). Correct"
                f" {service}_version or {service}_digest, or set orchestration_registry or docker_registry_mirrors to a"
                " registry that the host can reach."
            )
        present = str(situation.host.get("versions", {}).get(service, "")).strip()
        known = service == "postgres" and _data_major(situation)  # the data themselves are asked
        if not situation.upgrade and not known and another_major(present, reference):
            yield (
                f"{service}_version: {present} has run on the data of this host, and {reference} is another major"
                " version. A newer one changes the data when it starts, and only a backup brings them back; an older"
                f" one cannot open them. Set {service}_version back, or run upgrade.yml, which makes a backup and"
                " returns to it if the new version does not start."
            )

    return rule


# Values


def _environment(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if value is not None and UNQUOTABLE.search(str(value)):
            yield (
                f"{name}: the value holds a single quote, a backslash, a line break or ${{, which Docker or Kestra"
                " would change. Set another value."
            )


def _filled(situation: Situation, *names: str) -> Iterator[str]:
    for name in names:
        if situation.given(name) and not situation.text(name):
            yield f"{name}: is empty. Set a value, or leave {name} out to have one generated."


def _ranges(*limits: tuple[str, int, int | None]) -> Rule:
    def rule(situation: Situation) -> Iterator[str]:
        for name, low, high in limits:
            number = situation.number(name)
            if number is not None and not (low <= number and (high is None or number <= high)):
                wanted = f"{low} or more" if high is None else f"{low} to {high}"
                yield f"{name}: {number} is out of range. Set it to {wanted}."

    return rule


def _absolute(*names: str) -> Rule:
    """Return a rule for paths of the host, one or a list of them."""

    def rule(situation: Situation) -> Iterator[str]:
        for name in names:
            value = situation.variables.get(name)
            for path in value if isinstance(value, (list, tuple)) else [value]:
                if path is not None and path != "" and not ABSOLUTE.fullmatch(str(path)):
                    yield f"{name}: '{path}' is not an absolute path. Set one that begins with / and has no spaces."

    return rule


# Docker


def _docker_source(situation: Situation) -> Iterator[str]:
    old = situation.facts.get("distribution") == "Debian" and situation.release == "12"
    if old and situation.text("docker_package_source") == "distribution":
        yield (
            "docker_package_source: Debian 12 has no package of Compose v2. Set docker_package_source to 'docker', or"
            " use Debian 13."
        )


def _docker_removal(situation: Situation) -> Iterator[str]:
    compose = f"{situation.root}/compose.yml"
    needed = [service for service in situation.deployed() if service in IN_DOCKER]
    if compose in situation.host.get("files", {}):
        yield (
            f"docker_state: services of {compose} run in Docker. Set kestra_state, n8n_state and postgres_state to"
            " 'absent' and run the playbook, and set docker_state to 'absent' after that."
        )
    elif needed:
        yield (
            f"docker_state: {_and([TITLES[service] for service in needed])} run in Docker. Set docker_state to"
            f" 'present', or {_and([f'{service}_state' for service in needed])} to 'absent' as well."
        )


# PostgreSQL


def _postgres_major(situation: Situation) -> str:
    found = numbers(situation.text("postgres_version"))
    return str(found[0]) if found else ""


def _data_major(situation: Situation) -> str:
    return str(situation.host.get("postgres_major", "")).strip()


def _postgres_version(situation: Situation) -> Iterator[str]:
    if not situation.text("postgres_version"):
        return
    version, major, data = situation.text("postgres_version"), _postgres_major(situation), _data_major(situation)
    if major not in POSTGRES:
        yield (
            f"postgres_version: {version} is not supported. Kestra needs 14 or newer, and the images from 18 on keep"
            f" their data elsewhere. Set it to {_or(POSTGRES)}."
        )
    if data and data != major and not situation.upgrade:
        yield (
            f"postgres_version: the data in {situation.root}/data/postgres/pgdata belong to PostgreSQL {data}, and"
            f" {major or version} cannot open them. Set postgres_version back, or run upgrade.yml, which dumps and"
            " loads the databases."
        )


def _postgres_buffers(situation: Situation) -> Iterator[str]:
    name = "postgres_shared_buffers"
    if situation.given(name) and not re.fullmatch("[0-9]+(kB|MB|GB|TB)", situation.text(name)):
        yield f"{name}: '{situation.text(name)}' is not a size that PostgreSQL reads. Set one like 128MB or 1GB."


def _database_passwords(situation: Situation) -> list[str]:
    kept = [service for service in DATABASE_USERS if not situation.flag(f"{service}_purge_data")]
    return [f"{service}_database_password" for service in kept]


def _postgres_values(situation: Situation) -> Iterator[str]:
    names = ["postgres_password", *_database_passwords(situation)]
    yield from _filled(situation, *names)
    yield from _environment({name: situation.variables.get(name) for name in names})


def _postgres_removal(situation: Situation) -> Iterator[str]:
    users = [service for service in DATABASE_USERS if situation.present(service)]
    if users:
        yield (
            f"postgres_state: {_and([TITLES[user] for user in users])} {'keep' if len(users) > 1 else 'keeps'} data in"
            f" PostgreSQL. Set {_and([f'{user}_state' for user in users])} to 'absent' as well."
        )
    purged = [f"{user}_purge_data" for user in DATABASE_USERS if situation.flag(f"{user}_purge_data")]
    if purged and not situation.flag("postgres_purge_data"):
        yield (
            f"postgres_state: {_and(purged)} {'remove databases' if len(purged) > 1 else 'removes a database'} of"
            " PostgreSQL, which must run for that. Set postgres_purge_data to true as well, or set postgres_state to"
            " 'absent' in a run after this one."
        )


# Kestra


def _kestra_login(situation: Situation) -> Iterator[str]:
    if situation.given("kestra_username") and not EMAIL.fullmatch(situation.text("kestra_username")):
        yield (
            f"kestra_username: '{situation.text('kestra_username')}' is not an e-mail address, and Kestra accepts no"
            " other login. Set it to one."
        )
    password = situation.text("kestra_password")
    strong = 8 <= len(password) <= 256 and all(re.search(kind, password) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    if situation.given("kestra_password") and not strong:
        yield (
            "kestra_password: empty or too weak for Kestra, which would then leave its set-up page open to anybody. Set"
            " 8 to 256 characters with an upper-case letter, a lower-case letter and a digit, or leave it out to have"
            " one generated."
        )


def _kestra_key(situation: Situation) -> Iterator[str]:
    key = situation.text("kestra_encryption_key")
    if not key:
        return
    try:
        length = len(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):
        length = 0
    if length not in KEY_LENGTHS:
        yield (
            "kestra_encryption_key: the value is not 32 bytes in Base64. Make one with 'openssl rand -base64 32', or"
            " leave it out to have one generated."
        )


def _kestra_config(situation: Situation) -> Iterator[str]:
    texts: dict[str, Any] = {}
    if situation.given("kestra_config"):
        texts["kestra_config"] = situation.variables["kestra_config"]
    if "kestra_config_template" in situation.rendered:
        texts["kestra_config_template"] = situation.rendered["kestra_config_template"]
    allowed = [str(path) for path in situation.items("kestra_config_allowed")]
    for name, configuration in texts.items():
        found = config_schema.problems(configuration, situation.text("kestra_version"), allowed)
        if found:
            yield f"{name}: {'; '.join(found)}."


def _kestra_values(situation: Situation) -> Iterator[str]:
    secrets = ("kestra_password", "kestra_encryption_key", "kestra_database_password", "sidecar_token")
    yield from _filled(situation, "kestra_encryption_key", "kestra_database_password")
    names = (*secrets, "kestra_java_opts", "kestra_timezone")
    envs = {f"kestra_envs.{name}": value for name, value in situation.mapping("kestra_envs").items()}
    yield from _environment({**{name: situation.variables.get(name) for name in names}, **envs})


# n8n


def _n8n_values(situation: Situation) -> Iterator[str]:
    if situation.given("n8n_encryption_key") and len(situation.text("n8n_encryption_key")) < 16:
        yield (
            "n8n_encryption_key: shorter than 16 characters. Make one with 'openssl rand -hex 32', or leave it out to"
            " have one generated."
        )
    yield from _filled(situation, "n8n_database_password")
    for name in situation.mapping("n8n_environment"):
        if not ENVIRONMENT_NAME.fullmatch(str(name)):
            yield (
                f"n8n_environment: '{name}' is not a name of an environment variable. Use letters, digits and"
                " underscores."
            )
    names = ("n8n_encryption_key", "n8n_database_password", "n8n_url", "n8n_timezone")
    more = {f"n8n_environment.{name}": value for name, value in situation.mapping("n8n_environment").items()}
    yield from _environment({**{name: situation.variables.get(name) for name in names}, **more})


# The sidecar


def _sidecar_addresses(situation: Situation) -> Iterator[str]:
    name = "sidecar_bind_addresses"
    if not situation.given(name):
        return
    addresses = [str(address) for address in situation.items(name)]
    if not addresses:
        yield f"{name}: is empty. Keep 127.0.0.1, which the health check of the role needs."
    for address in addresses:
        if not re.fullmatch(r"127[.][0-9]+[.][0-9]+[.][0-9]+|::1", address):
            yield (
                f"{name}: '{address}' is not of the loopback interface. Whoever reaches the API and has the token owns"
                " the virtual machines of the host. Use 127.0.0.1, and sidecar_docker_bridges for containers."
            )


def _sidecar_paths(situation: Situation) -> Iterator[str]:
    names = ("sidecar_multipass_path", "sidecar_home")
    for name in names:
        if situation.given(name) and not situation.text(name):
            yield f"{name}: is empty. Set an absolute path."
    yield from _absolute(*names, "sidecar_tls_certificate", "sidecar_tls_key", "sidecar_wheels")(situation)
    for name in ("sidecar_mount_sources", "sidecar_image_files"):
        for path in situation.items(name):
            if not str(path).startswith("/"):
                yield f"{name}: '{path}' is not an absolute path. Set one that begins with /."
    if bool(situation.text("sidecar_tls_certificate")) != bool(situation.text("sidecar_tls_key")):
        yield (
            "sidecar_tls_certificate, sidecar_tls_key: one is set and the other is not. Set both, or leave both empty."
        )


def _sidecar_tokens(situation: Situation) -> Iterator[str]:
    tokens = [token for token in situation.items("sidecar_tokens") if isinstance(token, Mapping)]
    names = [str(token.get("name", "")) for token in tokens]
    for name in names:
        if not re.fullmatch("[a-z][a-z0-9_]{0,40}", name):
            yield (
                f"sidecar_tokens: '{name}' is not a name of a token. Use lower-case letters, digits and underscores,"
                " with a letter first."
            )
    if len({"admin", *names}) != len(names) + 1:
        yield "sidecar_tokens: a name occurs twice. Use each name once; 'admin' is the name of sidecar_token."
    if situation.given("sidecar_token") and not re.fullmatch("[!-~]{32,}", situation.text("sidecar_token")):
        yield (
            "sidecar_token: needs at least 32 characters of ASCII, without spaces. Set a longer one ('openssl rand -hex"
            " 32'), or leave it out to have one generated."
        )


def _sidecar_host(situation: Situation) -> Iterator[str]:
    python = situation.host.get("python")
    if python is not None and numbers(str(python)) < SIDECAR_PYTHON:
        found = f"is Python {python}" if python else "is missing or does not start"
        yield (
            f"sidecar_python: {situation.text('sidecar_python')} {found}, and the sidecar needs Python 3.11. Install a"
            " newer one and set sidecar_python to its path, or set sidecar_state to 'absent'."
        )
    groups = situation.host.get("groups")
    unknown = [str(name) for name in situation.items("sidecar_groups") if groups is not None and name not in groups]
    if unknown:
        yield (
            f"sidecar_groups: the host has no group {_and(unknown)}. Set sidecar_groups to the group that multipass"
            " lets in, or to []."
        )


def _sidecar_removal(situation: Situation) -> Iterator[str]:
    if situation.flag("sidecar_purge_data") and situation.present("kestra"):
        yield (
            "sidecar_purge_data: Kestra's flows use the token as well. Set kestra_state to 'absent', or leave"
            " sidecar_purge_data out."
        )


# Backups


def _backup(situation: Situation) -> Iterator[str]:
    encryption = situation.text("backup_encryption", "none")
    if encryption != "none" and not situation.items("backup_recipients"):
        yield (
            f"backup_recipients: is empty, so no key decrypts what {encryption} encrypts. Set backup_recipients to a"
            " public key, or backup_encryption to 'none'."
        )
    directory = situation.text("backup_directory")
    if situation.given("backup_directory") and not directory.startswith("/"):
        yield f"backup_directory: '{directory}' is not an absolute path. Set one that begins with /."
    schedule = situation.text("backup_schedule")
    reason = " ".join(str(situation.host.get("calendars", {}).get(schedule, "")).split()) if schedule else ""
    if reason:
        yield (
            f"backup_schedule: systemd does not read '{schedule}' ({reason}). Set a calendar expression of"
            " systemd.time(7), such as '*-*-* 02:30:00'."
        )
    if situation.host.get("interrupted_restore"):
        yield (
            f"backup: a restore on this host was interrupted. Run '{situation.root}/bin/orchestration-backup recover'"
            " on the host, which restores the previous state, or run restore.yml, which begins with that."
        )


RULES: tuple[Rule, ...] = (_root, _distribution, _memory, _disk, _proxies, _bundle, _purge, _equal_ports)
"""What holds for the host and for several services."""
DEPLOYMENT: Mapping[str, tuple[Rule, ...]] = {
    "docker": (_docker_source,),
    "postgres": (_postgres_version, _postgres_buffers, _image("postgres"), _postgres_values),
    "sidecar": (
        _held_ports("sidecar"),
        _sidecar_addresses,
        _sidecar_paths,
        _ranges(
            ("sidecar_query_timeout", 1, 3600),
            ("sidecar_change_timeout", 1, 3600),
            ("sidecar_launch_timeout", 1, 14400),
            ("sidecar_max_parallel", 1, 64),
            ("sidecar_max_queue", 1, None),
            ("sidecar_job_days", 1, None),
            ("sidecar_rate_limit", 1, None),
        ),
        _sidecar_tokens,
        _sidecar_host,
    ),
    "kestra": (
        _kestra_login,
        _kestra_key,
        _kestra_config,
        _held_ports("kestra"),
        _image("kestra"),
        _kestra_values,
    ),
    "n8n": (_held_ports("n8n"), _image("n8n"), _n8n_values),
    "backup": (_ranges(("backup_keep", 1, None), ("backup_keep_days", 0, None)), _backup),
}
"""What holds for a service that is deployed."""
REMOVAL: Mapping[str, tuple[Rule, ...]] = {
    "docker": (_docker_removal,),
    "postgres": (_postgres_removal,),
    "sidecar": (_sidecar_removal,),
}
"""What holds for a service that is removed."""


def _unpinned(situation: Situation) -> Iterator[str]:
    for service in DATABASE_USERS:
        version = situation.text(f"{service}_version")
        if service in situation.deployed() and version and not numbers(version):
            yield (
                f"{service}_version: '{version}' does not name a version, so upgrade.yml cannot compare it and the"
                " image may change without notice. Set a version."
            )


def _heap(situation: Situation) -> Iterator[str]:
    found = re.search(r"(?:^|\s)-Xmx(\d+)([kKmMgG]?)(?:\s|$)", situation.text("kestra_java_opts"))
    memory = situation.host.get("memory_bytes")
    if "kestra" not in situation.deployed() or not found or not memory:
        return
    size = int(found[1]) * {"": 1, "k": 1024, "m": MIB, "g": 1024 * MIB}[found[2].lower()]
    if size >= memory:
        yield (
            f"kestra_java_opts: -Xmx{found[1]}{found[2]} is not less than the memory of the host ({memory // MIB} MiB)."
            " Set a smaller heap."
        )


def _unencrypted(situation: Situation) -> Iterator[str]:
    recipients, encryption = situation.items("backup_recipients"), situation.text("backup_encryption", "none")
    if "backup" in situation.deployed() and recipients and encryption == "none":
        yield (
            "backup_encryption: is 'none', so the archives are not encrypted for backup_recipients. Set"
            " backup_encryption to 'age' or 'gpg'."
        )


def _multipass(situation: Situation) -> Iterator[str]:
    path, files = situation.text("sidecar_multipass_path"), situation.host.get("files", {})
    wanted = "sidecar" in situation.deployed() and situation.flag("sidecar_multipass_install")
    if wanted and path.startswith("/snap/") and path not in files and SNAPD not in files:
        yield (
            f"sidecar_multipass_install: the host has no snapd, so multipass is not installed. Until it is at {path},"
            " the sidecar answers that it is missing. Set sidecar_multipass_install to false if that is intended."
        )


WARNINGS: tuple[Rule, ...] = (_unpinned, _heap, _unencrypted, _multipass)
