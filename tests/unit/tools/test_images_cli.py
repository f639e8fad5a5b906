"""The pure parts of the tool that makes images and test hosts."""

from __future__ import annotations

import io
import itertools
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

IMAGES = Path(__file__).resolve().parents[2] / "images"
sys.path.insert(0, str(IMAGES))

from testbed import build, engine, hosts, recipes, registry, settings  # noqa: E402

MIRRORS = ("http://mirror.example/debian", "http://mirror.example/debian-security")


def pem(body: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----"


@pytest.fixture
def recipe(tmp_path: Path) -> recipes.Recipe:
    (tmp_path / "Dockerfile").write_text("ARG BASE=localhost/debian:trixie\nFROM ${BASE}\n")
    (tmp_path / "start.sh").write_text("#!/bin/sh\n")
    return recipes.Recipe("sample", "localhost/sample:1", context=tmp_path, args={"VERSION": "1"})


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("x_version: 2.41.1", "2.41.1"),
        ('x_version: "17"', "17"),
        ("x_version: '17' # why", "17"),
        ("x_version: v2.0.5   # why", "v2.0.5"),
        ("x_version:   v2.0.5  ", "v2.0.5"),
    ],
)
def test_default_is_read_from_yaml_text(line: str, value: str) -> None:
    assert settings.read_default(f"---\nother: 1\n{line}\nx_version_more: 3\n", "x_version") == value


@pytest.mark.parametrize("text", ["", "  x_version: 1\n", "x_versions: 1\n", "x_version:\n  - 1\n"])
def test_missing_default_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(settings.ImagesError, match="x_version"):
        settings.read_default(text, "x_version")


def test_role_without_defaults_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(settings.ImagesError, match=r"roles/absent/defaults/main\.yml"):
        settings.role_version("absent", tmp_path)


def test_images_have_the_versions_of_the_roles() -> None:
    assert recipes.get("postgres").official == f"library/postgres:{settings.role_version('postgres')}"
    assert recipes.get("n8n").official == f"n8nio/n8n:{settings.role_version('n8n')}"
    assert recipes.get("kestra").official == f"kestra/kestra:{settings.role_version('kestra')}"


@pytest.mark.parametrize("name", [name for name in recipes.FACTORIES if name.split(":")[0] == "n8n"])
def test_lock_file_of_n8n_fits_its_version_and_names_no_server(name: str) -> None:
    arguments = recipes.get(name).args
    version, place = arguments["N8N_VERSION"], IMAGES / "n8n" / arguments.get("LOCK", ".")
    package = json.loads((place / "package.json").read_text(encoding="utf-8"))
    lock = json.loads((place / "package-lock.json").read_text(encoding="utf-8"))
    assert package["dependencies"] == {"n8n": version}
    assert lock["packages"]["node_modules/n8n"]["version"] == version
    assert [name for name, entry in lock["packages"].items() if "resolved" in entry] == []
    unsealed = [name for name, entry in lock["packages"].items() if name and "integrity" not in entry]
    assert [name for name in unsealed if not lock["packages"][name].get("optional")] == []


def test_cache_directory_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVORCH_CACHE", str(tmp_path / "own"))
    assert settings.cache_dir() == tmp_path / "own"
    monkeypatch.delenv("DEVORCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert settings.cache_dir() == tmp_path / "xdg/devorch-orchestration"
    assert settings.cache_dir().is_dir()


def test_mirrors_come_from_both_formats_of_apt_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEVORCH_DEBIAN_MIRROR", raising=False)
    deb822 = """Types: deb
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""
    vendor = "deb [signed-by=/k.asc] https://vendor.example/linux/debian bookworm stable\n"
    assert settings.debian_mirrors({"vendor.list": vendor, "debian.sources": deb822}) == MIRRORS
    one_line = "deb http://mirror.example/debian trixie main\ndeb http://mirror.example/debian trixie-updates main\n"
    assert settings.debian_mirrors({"sources.list": vendor + one_line}) == MIRRORS


def test_machine_without_debian_mirrors_gets_debians_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEVORCH_DEBIAN_MIRROR", raising=False)
    disabled = "Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: trixie-updates\n"
    ubuntu = "deb http://ubuntu.example/ubuntu noble-updates main\n"
    found = settings.debian_mirrors({"a.sources": disabled, "b.list": ubuntu})
    assert found == ("http://deb.debian.org/debian", "http://deb.debian.org/debian-security")
    monkeypatch.setenv("DEVORCH_DEBIAN_MIRROR", "http://chosen.example/debian")
    assert settings.debian_mirrors({})[0] == "http://chosen.example/debian"


def test_sources_of_a_base_image_have_updates_and_security() -> None:
    assert build.sources_list("trixie", MIRRORS).splitlines() == [
        "deb http://mirror.example/debian trixie main",
        "deb http://mirror.example/debian trixie-updates main",
        "deb http://mirror.example/debian-security trixie-security main",
    ]


@pytest.mark.parametrize(
    ("dockerfile", "args", "base"),
    [
        ("ARG BASE=localhost/debian:trixie\nFROM ${BASE} AS build\nFROM $BASE\n", {}, "localhost/debian:trixie"),
        (
            "ARG BASE=localhost/debian:trixie\nFROM ${BASE}\n",
            {"BASE": "localhost/debian:bookworm"},
            "localhost/debian:bookworm",
        ),
        ("FROM --platform=linux/amd64 localhost/debian:trixie\n", {}, "localhost/debian:trixie"),
        ("FROM scratch\n", {}, None),
    ],
)
def test_base_image_is_read_from_the_dockerfile(dockerfile: str, args: dict[str, str], base: str | None) -> None:
    assert recipes.base_image(dockerfile, args) == base


def test_hash_changes_with_every_input_and_says_which(recipe: recipes.Recipe) -> None:
    assert recipe.context
    first = recipes.inputs(recipe, "sha256:1", MIRRORS)
    assert recipes.recipe_hash(first) == recipes.recipe_hash(recipes.inputs(recipe, "sha256:1", MIRRORS))
    other_base = recipes.inputs(recipe, "sha256:2", MIRRORS)
    assert recipes.changes(first, other_base) == ["base localhost/debian:trixie"]
    other_args = recipes.Recipe(recipe.name, recipe.tag, context=recipe.context, args={"VERSION": "2"})
    assert recipes.changes(first, recipes.inputs(other_args, "sha256:1", MIRRORS)) == ["argument VERSION"]
    (recipe.context / "start.sh").chmod(0o755)
    assert recipes.changes(first, recipes.inputs(recipe, "sha256:1", MIRRORS)) == ["file start.sh"]
    (recipe.context / "new.txt").write_text("x")
    assert recipes.changes(first, recipes.inputs(recipe, "sha256:1", MIRRORS)) == ["file new.txt", "file start.sh"]


def test_base_image_depends_on_its_mirror_without_naming_it() -> None:
    trixie = recipes.get("debian:trixie")
    first = recipes.inputs(trixie, None, MIRRORS)
    assert recipes.changes(first, recipes.inputs(trixie, None, ("http://other.example", MIRRORS[1]))) == ["mirror"]
    assert "mirror.example" not in json.dumps(first)


def test_what_docker_ignores_is_not_hashed(recipe: recipes.Recipe) -> None:
    assert recipe.context
    (recipe.context / ".dockerignore").write_text("# comment\n*.log\n/out/\n")
    for name in ("a.log", "out/b", "target/c", "kept/d"):
        path = recipe.context / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    names = {str(path) for path in recipes.context_files(recipe.context)}
    assert names == {".dockerignore", "Dockerfile", "start.sh", "kept/d"}


def test_images_are_built_after_what_they_are_built_on() -> None:
    names = [recipe.name for recipe in recipes.with_bases(["postgres", "testhost:bookworm", "debian:trixie"])]
    assert names == ["debian:trixie", "postgres", "debian:bookworm", "testhost:bookworm"]


def test_image_is_found_by_any_of_its_names_and_others_are_refused() -> None:
    postgres = recipes.get("postgres")
    assert recipes.get(postgres.tag) == recipes.get(str(postgres.official)) == postgres
    with pytest.raises(settings.ImagesError, match=r"no image is called 'mysql'.*postgres"):
        recipes.get("mysql")


def test_build_hands_settings_over_as_secrets_only(recipe: recipes.Recipe) -> None:
    wanted = recipes.inputs(recipe, "sha256:1", MIRRORS)
    environment = {"https_proxy": "http://user:password@proxy.example", "PATH": "/bin"}
    arguments = build.build_arguments(recipe, wanted, {"ca": Path("/ca.crt")}, environment)
    assert arguments[:4] == ["build", "--progress=plain", "--tag", "localhost/sample:1"]
    assert arguments[-1] == str(recipe.context)
    pairs = set(itertools.pairwise(arguments))
    assert ("--build-arg", "VERSION=1") in pairs
    assert ("--build-arg", "https_proxy") in pairs
    assert ("--secret", "id=ca,src=/ca.crt") in pairs
    assert ("--label", f"devorch.recipe={recipes.recipe_hash(wanted)}") in pairs
    assert "password" not in " ".join(arguments)
    assert "--no-cache" not in arguments
    assert "--no-cache" in build.build_arguments(recipe, wanted, {}, {}, no_cache=True)


def test_images_do_not_hand_the_label_of_clean_to_containers(recipe: recipes.Recipe) -> None:
    assert settings.LABEL not in build.label_arguments(recipes.inputs(recipe, None, MIRRORS))


def test_missing_settings_are_no_secrets(tmp_path: Path) -> None:
    assert settings.HostSettings().secrets() == {}
    found = settings.HostSettings(ca=tmp_path / "ca", pip_conf=tmp_path / "pip").secrets()
    assert found == {"ca": tmp_path / "ca", "pip-conf": tmp_path / "pip"}


@pytest.mark.parametrize(
    ("text", "major"),
    [("Docker version 20.10.24+dfsg1, build 297e128", 20), ("Docker version 28.2.2, build e6534b4", 28), ("", None)],
)
def test_client_version_is_read(text: str, major: int | None) -> None:
    assert engine.client_major(text) == major


def test_client_that_can_build_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = {
        "old": "echo 'Docker version 18.09.1, build 1'; [ \"$1\" = --version ]",
        "bare": "echo 'Docker version 28.2.2, build 1'; [ \"$1\" = --version ]",
        "able": "echo 'github.com/docker/buildx 0.13.1'",
    }
    for name, script in scripts.items():
        program = tmp_path / name / "docker"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.delenv("DEVORCH_DOCKER", raising=False)
    monkeypatch.setenv("PATH", ":".join(str(tmp_path / name) for name in scripts) + ":/usr/bin:/bin")
    engine._choose_client.cache_clear()
    try:
        assert engine.docker_cli() == str(tmp_path / "able/docker")
        engine._choose_client.cache_clear()
        monkeypatch.setenv("DEVORCH_DOCKER", str(tmp_path / "able/docker"))
        assert engine.docker_cli() == str(tmp_path / "able/docker")
    finally:
        engine._choose_client.cache_clear()


def test_mtu_is_that_of_the_interface_with_the_default_route(tmp_path: Path) -> None:
    (tmp_path / "eth1").mkdir()
    (tmp_path / "eth1/mtu").write_text("1400\n")
    head = "Iface\tDestination\tGateway\n"
    assert engine.outer_mtu(f"{head}eth0\t0011AC00\t0\neth1\t00000000\t0100A8C0\n", tmp_path) == 1400
    assert engine.outer_mtu(head, tmp_path) == 1500
    assert engine.outer_mtu(f"{head}gone\t00000000\t0\n", tmp_path) == 1500


def test_engine_of_someone_else_is_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEVORCH_CACHE", str(tmp_path))
    engine.stop_engine()
    assert "left alone" in capsys.readouterr().out
    # A number of a process that is not dockerd: the machine was restarted since the file was written.
    (tmp_path / "dockerd.pid").write_text("1\n")
    monkeypatch.setattr(engine, "_is_ours", lambda _pid: False)
    engine.stop_engine()
    assert not (tmp_path / "dockerd.pid").exists()


def test_host_has_every_capability_but_one_and_its_own_volume() -> None:
    arguments = hosts.run_arguments("h", "localhost/testhost:trixie", ["127.0.0.1:8080:8080"])
    assert "--privileged" not in arguments
    assert {"--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--cgroupns=private"} <= set(arguments)
    pairs = set(itertools.pairwise(arguments))
    assert ("--volume", "h-docker:/var/lib/docker") in pairs
    assert ("--publish", "127.0.0.1:8080:8080") in pairs
    assert ("--network", settings.NETWORK) in pairs
    assert ("--label", "devorch.test=1") in pairs
    assert arguments[-1] == "localhost/testhost:trixie"


def test_host_with_other_ports_or_image_is_told_apart() -> None:
    def digest(image: str, *publish: str) -> str:
        arguments = hosts.run_arguments("h", image, list(publish))
        return next(argument for argument in arguments if argument.startswith(hosts.ARGUMENTS_LABEL))

    assert digest("a") == digest("a")
    assert len({digest("a"), digest("b"), digest("a", "1:1"), digest("a", "1:1", "2:2")}) == 4


def test_only_certificates_that_a_host_lacks_are_added() -> None:
    known = f"{pem('AAA')}\n{pem('BBB')}\n"
    wrapped = pem("CC\nC")
    bundle = f"# one\n{pem('AAA')}\n# two\n{wrapped}\n{pem('CCC')}\n"
    assert hosts.missing_certificates(bundle, known) == [pem("CCC")]
    assert hosts.missing_certificates(known, known) == []


def test_settings_of_the_machine_are_packed_for_a_host(tmp_path: Path) -> None:
    ca = tmp_path / "bundle.crt"
    ca.write_text(f"{pem('AAA')}\n{pem('BBB')}\n")
    pip = tmp_path / "pip.conf"
    pip.write_text(f"[global]\ncert = {ca}\n")
    found = settings.HostSettings(ca=ca, pip_conf=pip, extra=settings._pip_certificates(pip))
    with tarfile.open(fileobj=io.BytesIO(hosts.settings_archive(found, pem("AAA")))) as archive:
        members = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        content = {name: handle.read().decode() for name, handle in members.items() if handle}
    assert content["usr/local/share/ca-certificates/machine-0.crt"] == f"{pem('BBB')}\n"
    assert content["etc/pip.conf"] == pip.read_text()
    assert content[str(ca).lstrip("/")] == ca.read_text()


def test_manifest_tells_both_names_of_an_image() -> None:
    body = json.dumps({"config": {"digest": "sha256:c"}}).encode()
    assert registry.manifest_ids(body, {"docker-content-digest": "sha256:m"}) == {"sha256:c", "sha256:m"}
    index = json.dumps({"manifests": []}).encode()
    assert registry.manifest_ids(index, {"docker-content-digest": "sha256:i"}) == {"sha256:i"}


@pytest.mark.parametrize(
    ("name", "parts"),
    [("library/postgres:17", ("library/postgres", "17")), ("n8nio/n8n", ("n8nio/n8n", "latest"))],
)
def test_official_name_is_split(name: str, parts: tuple[str, str]) -> None:
    assert registry.split_name(name) == parts


def test_unreachable_docker_hub_is_told_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "HUB", "registry.invalid")
    assert registry.docker_hub_reachable(timeout=1) is False


def test_every_recipe_starts_from_our_base_and_installs_without_leftovers() -> None:
    for dockerfile in sorted(IMAGES.glob("*/Dockerfile")):
        text = dockerfile.read_text(encoding="utf-8")
        assert re.search(r"^FROM \$\{BASE\}", text, re.MULTILINE), dockerfile
        # Each installation uses the machine's apt settings and keeps package lists out of the layer.
        steps = [step for step in re.split(r"^RUN ", text, flags=re.MULTILINE)[1:] if "apt-get update" in step]
        for step in steps:
            assert "id=apt-conf" in step and "target=/var/lib/apt/lists" in step, dockerfile


def test_engine_that_refuses_to_drop_a_capability_is_asked_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        asked.append(arguments)
        refused = "--cap-drop=SYS_RESOURCE" in arguments
        return subprocess.CompletedProcess(arguments, int(refused), "", "invalid CapDrop" if refused else "")

    monkeypatch.setattr(hosts, "docker", docker)
    hosts.create(hosts.run_arguments("h", "localhost/testhost:trixie", []))
    assert len(asked) == 2
    assert set(asked[0]) - set(asked[1]) == {"--cap-drop=SYS_RESOURCE"}


def test_host_that_cannot_start_is_reported_with_the_engines_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(arguments, 125, "", "port is already allocated")

    monkeypatch.setattr(hosts, "docker", docker)
    with pytest.raises(settings.ImagesError, match="port is already allocated"):
        hosts.create(["run"])
