"""A server with a life of its own: others' containers, files and rules go through everything unchanged."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from .conftest import ROOT, Host, Run

NAME = "devorch-life"
CLI = (sys.executable, str(ROOT / "tests" / "images" / "cli.py"))
DISK, DIRECTORY = "/srv/data", "/srv/data/apps/orchestration"
DAEMON = {
    "data-root": "/var/lib/docker/engine",
    "default-address-pools": [{"base": "10.210.0.0/16", "size": 24}],
    "live-restore": True,
    "labels": ["shop=1"],
    "log-opts": {"max-size": "7m"},
    "registry-mirrors": ["http://registry:5000"],
    "insecure-registries": ["registry:5000"],
}
IMAGE = "postgres:17.12-trixie"
# The life of the server before anybody thought of the collection.
LIFE = f"""
set -eu
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io docker-cli ufw >/dev/null
mkdir -p /etc/docker /etc/shop /srv/shop {DISK} /var/lib/docker/disk /etc/apt/sources.list.d /etc/apt/keyrings \
  /etc/systemd/journald.conf.d /root/.docker
cat > /etc/docker/daemon.json
useradd --system --home-dir /srv/shop shop
echo 'secret of the shop' > /etc/shop/shop.conf; chown shop /etc/shop/shop.conf; chmod 600 /etc/shop/shop.conf
echo 'orders' > /srv/shop/orders; chown -R shop /srv/shop
echo '# deb [signed-by=/etc/apt/keyrings/shop.gpg] http://shop.example.com ./' > /etc/apt/sources.list.d/shop.list
echo 'deb [arch=amd64 signed-by=/etc/apt/keyrings/docker.gpg] https://download.docker.com/linux/debian trixie stable' \
  > /etc/apt/sources.list.d/docker.list
echo 'the key of then' > /etc/apt/keyrings/docker.gpg
printf '[Journal]\\nSystemMaxUse=64M\\n' > /etc/systemd/journald.conf.d/shop.conf
printf 'net.ipv6.conf.%s.disable_ipv6 = 1\\n' all default lo > /etc/sysctl.d/60-no-ipv6.conf
/usr/lib/systemd/systemd-sysctl /etc/sysctl.d/60-no-ipv6.conf
echo '{{"auths": {{"registry.shop.example.com": {{"auth": "c2hvcDpzaG9w"}}}}}}' > /root/.docker/config.json
printf '#!/bin/sh\\numask 077\\nexec /bin/sh "$@"\\n' > /usr/local/sbin/private-shell
chmod 755 /usr/local/sbin/private-shell
echo '/var/lib/docker/disk {DISK} none bind 0 0' >> /etc/fstab
systemctl daemon-reload
systemctl start srv-data.mount
ufw default deny incoming; ufw allow 22/tcp; ufw --force enable; systemctl enable -q ufw
systemctl enable -q docker; systemctl restart docker
docker network create shop_default
docker volume create shop_data
docker run --detach --name shop-db --network shop_default --label com.docker.compose.project=shop \
  --volume shop_data:/var/lib/postgresql/data --publish 8080:5432 --env POSTGRES_PASSWORD=shop \
  --restart unless-stopped {IMAGE}
docker run --detach --init --name shop-job --network shop_default --entrypoint sleep {IMAGE} infinity
docker run --name shop-done --entrypoint true {IMAGE}
"""
GIVEN: dict[str, Any] = {
    "ansible_shell_executable": "/usr/local/sbin/private-shell",
    "orchestration_root": DIRECTORY,
}
UNCHANGED_MIND = {**GIVEN, "docker_package_source": "docker"}
"""What somebody writes who has not read the pages."""
MENDED = {
    **GIVEN,
    "kestra_port": 18080,
    "sidecar_allowed_networks": ["127.0.0.0/8", "172.16.0.0/12", "10.210.0.0/16"],
}
SERVICES = ("postgres", "kestra", "n8n")
ABSENT = {
    f"{service}_{option}": value
    for service in (*SERVICES, "sidecar", "backup")
    for option, value in (("state", "absent"), ("purge_data", True))
}
SHARED = (
    "passwd|passwd-|group|group-|shadow|shadow-|gshadow|gshadow-|subuid|subuid-|subgid|subgid-|ld.so.cache|"
    "docker/daemon.json"
)
"""Files below /etc in which others have their lines beside ours, or which packages write."""


@dataclass
class Life:
    """The server, and what stood there before."""

    host: Host
    files: dict[str, str] = field(default_factory=dict)
    docker: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)

    def site(self, variables: dict[str, Any], *arguments: str, about: str) -> Run:
        return self.host.playbook("site", variables, *arguments, about=about)

    def found_files(self) -> dict[str, str]:
        """Return mode, owner and digest of everything below the directories that belong to the server, by path."""
        digest = 'readlink "$f"; [ -h "$f" ] || [ -d "$f" ] || sha256sum < "$f"'
        listed = self.host.shell(
            "find /etc /srv /home /root /usr/local /var/spool /boot -xdev"
            f" \\( -path {DISK} -o -path /root/.ansible -o -path /root/.cache \\) -prune -o -print0 | xargs -0 sh -c"
            f""" 'for f; do echo "$f|$(stat -c "%a %u %g %F" "$f")|$({digest})"; done' sh"""
        )
        return dict(line.split("|", 1) for line in re.sub(r"\n(?!/)", " ", listed).splitlines())

    def found_docker(self) -> dict[str, Any]:
        """Return what Docker tells of the objects of others."""
        containers = json.loads(self.host.shell("docker inspect shop-db shop-job shop-done"))
        networks = json.loads(self.host.shell("docker network inspect shop_default bridge"))
        return {
            **{
                entry["Name"]: (entry["Id"], entry["RestartCount"], entry["State"]["StartedAt"], entry["Image"])
                for entry in containers
            },
            "networks": [(entry["Id"] if entry["Name"] != "bridge" else "", entry["IPAM"]) for entry in networks],
            "volumes": self.host.shell("docker volume inspect shop_data"),
            "orders": self.host.shell("docker exec shop-db psql -U postgres -tAc 'select count(*) from orders'"),
        }

    def look(self) -> Life:
        """Write down what the server has."""
        self.files, self.docker = self.found_files(), self.found_docker()
        self.lines = {
            name: self.host.shell(f"cat /etc/{name}").splitlines() for name in ("passwd", "group", "shadow", "subuid")
        }
        return self

    def is_untouched(self) -> None:
        """Check that nothing at all is new or other."""
        assert dict(self.found_files().items() ^ self.files.items()) == {}
        assert self.found_docker() == self.docker

    def is_whole(self) -> None:
        """Check that others have all that they had, byte for byte and container for container."""
        files = self.found_files()
        changed = {path: (text, files.get(path)) for path, text in self.files.items() if files.get(path) != text}
        others = {path: both for path, both in changed.items() if not re.fullmatch(f"/etc/({SHARED})", path)}
        assert others == {}, "\n".join(f"{path}: {before} -> {after}" for path, (before, after) in others.items())
        for name, lines in self.lines.items():
            assert set(lines) <= set(self.host.shell(f"cat /etc/{name}").splitlines())
        daemon = json.loads(self.host.shell("cat /etc/docker/daemon.json"))
        assert {key: daemon.get(key) for key in DAEMON} == DAEMON
        assert self.found_docker() == self.docker
        assert "Status: active" in self.host.shell("ufw status")
        assert self.host.shell("cat /proc/sys/net/ipv6/conf/all/disable_ipv6; ip -6 address") == "1"


def text(run: Run) -> str:
    return " ".join(run.output.split())


@pytest.fixture(scope="module")
def life(images: None, say: Callable[[str], None]) -> Iterator[Life]:
    """A server that has run a shop for years."""
    host = Host("default", say, NAME)
    host.run(*CLI, "host", "down", NAME, about="seconds").succeeded()
    host.run(*CLI, "host", "up", NAME, about="seconds").succeeded()
    host.shell(LIFE, given=json.dumps(DAEMON, indent="\t"))
    host.wait("the shop answers", lambda: "accepting" in host.shell("docker exec shop-db pg_isready", check=False), 60)
    host.shell("sleep 2; docker exec shop-db psql -U postgres -c 'create table orders as select generate_series(1, 9)'")
    yield Life(host).look()
    host.run(*CLI, "host", "down", NAME, about="seconds").succeeded()


def healthy(host: Host) -> bool:
    return all(host.health(service) == "healthy" for service in SERVICES)


def test_refused_before_it_is_touched_with_all_that_its_owner_must_decide(life: Life) -> None:
    run = life.site(UNCHANGED_MIND, about="about 15 s")
    assert run.code != 0 and run.recap["changed"] == 0
    for message in (
        "docker_package_source: /etc/apt/sources.list.d/docker.list has https://download.docker.com/linux/debian with",
        "docker_restart_allowed: the package docker.io is replaced, which stops shop-",
        "kestra_port: port 8080 is in use by shop-db (docker.service). Stop it, or set kestra_port to a free port",
        "sidecar_allowed_networks: Docker has containers in 10.210.0.0/16, which is not among them",
    ):
        assert message in text(run), run.output[-6000:]
    life.is_untouched()


def test_check_after_the_mends_changes_nothing(life: Life) -> None:
    life.site(MENDED, "--check", about="about 20 s").succeeded()
    life.is_untouched()


def test_site_and_a_second_run_leave_others_alone(life: Life) -> None:
    life.site(MENDED, about="about 4 minutes").succeeded()
    assert healthy(life.host)
    life.is_whole()
    assert life.site(MENDED, about="about 20 s").succeeded().recap["changed"] == 0
    life.is_whole()


def test_firewall_that_drops_containers_is_found_and_opened_as_the_doctor_says(life: Life) -> None:
    asked = (
        "docker exec orchestration-kestra-1 sh -c 'curl -s -m 5 -o /dev/null -w %{http_code} $ENV_SIDECAR_URL/health'"
    )
    assert life.host.shell(asked, check=False) == "000"
    run = life.host.playbook("doctor", MENDED, about="about 20 s")
    advice = re.search(r"'(ufw allow from [0-9./]+ to any port 8090 proto tcp)'", text(run))
    assert run.code != 0 and advice, run.output[-6000:]
    life.host.shell(advice[1])
    assert life.host.shell(asked) == "200"
    life.host.shell("ufw delete " + advice[1].removeprefix("ufw "))
    life.is_whole()


def below(host: Host) -> str:
    return host.shell(f"find {DISK} | sort")


def test_reboot_without_the_disk_starts_nothing_empty_and_the_disk_brings_all_back(life: Life) -> None:
    host = life.host
    database = "docker exec orchestration-postgres-1 psql -U postgres -d n8n -tAc"
    host.shell(f"{database} 'create table kept as values (7)'")
    host.shell("sed -i 's/ bind 0 0$/ bind,noauto 0 0/' /etc/fstab")
    host.run("docker", "restart", NAME, about="about 30 s").succeeded()
    host.wait("Docker is up", host.up, 60)
    assert below(host) == DISK
    host.wait("the shop answers", lambda: "accepting" in host.shell("docker exec shop-db pg_isready", check=False), 60)
    run = life.site(MENDED, about="about 15 s")
    assert run.code != 0 and run.recap["changed"] == 0
    assert "orchestration_root: data of this host are missing" in text(run), run.output[-6000:]
    assert below(host) == DISK, "something was made where the disk is missing"
    host.shell(
        "sed -i 's/ bind,noauto 0 0$/ bind 0 0/' /etc/fstab; systemctl daemon-reload; systemctl start srv-data.mount"
    )
    life.site(MENDED, about="about 2 minutes").succeeded()
    assert healthy(host) and host.shell(f"{database} 'table kept'") == "7"
    # A reboot restarts containers of others as well, by their own rules.
    host.shell("docker start shop-job")
    for name in ("/shop-db", "/shop-job"):
        identifier, restarts, _started, image = life.docker[name]
        now = life.found_docker()[name]
        assert (now[0], now[1], now[3]) == (identifier, restarts, image)
        life.docker[name] = now
    life.is_whole()


def test_removal_takes_what_is_ours_alone(life: Life) -> None:
    refused = life.site({**MENDED, **ABSENT, "docker_state": "absent", "docker_purge_data": True}, about="about 15 s")
    assert refused.code != 0 and refused.recap["changed"] == 0
    for kind in ("containers", "networks", "volumes"):
        said = re.search(rf"docker_purge_data: Docker has {kind} of others: [^.]*shop", text(refused))
        assert said, refused.output[-6000:]
    life.site({**MENDED, **ABSENT}, about="about a minute").succeeded()
    life.is_whole()
    names = life.host.shell("docker ps --all --format '{{.Names}}'").split()
    assert sorted(names) == ["shop-db", "shop-done", "shop-job"]
    assert life.host.shell("docker network ls --format '{{.Name}}'").split() == [
        "bridge",
        "host",
        "none",
        "shop_default",
    ]
    ours = life.host.shell(
        f"find /etc /run /usr/local {DISK} /home -xdev -name '*orchestration*' -not -path {DIRECTORY};"
        " getent passwd | grep orchestration; true"
    )
    assert ours == ""
    assert life.site({**MENDED, **ABSENT}, about="about 15 s").succeeded().recap["changed"] == 0
