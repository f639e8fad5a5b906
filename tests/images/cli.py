#!/usr/bin/env python3
"""Docker engine, images, registry and systemd hosts for the tests and the demo."""

from __future__ import annotations

import argparse
import sys

from testbed import build, clean, engine, hosts, recipes, registry
from testbed.settings import ImagesError


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(prog="cli.py", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("engine", help="make sure that a Docker engine answers")
    commands.add_parser("engine-stop", help="stop the dockerd that this tool started, no other")
    commands.add_parser("docker-cli", help="print the docker client that is used")
    commands.add_parser("official", help="tell whether Docker Hub can be reached (exit code 0) or not (1)")
    builder = commands.add_parser("build", help="build the images whose recipe changed")
    builder.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(recipes.FACTORIES)}")
    builder.add_argument("--force", action="store_true", help="build the named images again, without any cache")
    commands.add_parser("status", help="list the images: there or not, up to date or not, size")
    mirror = commands.add_parser("registry", help="run the registry and push what it lacks")
    mirror.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(recipes.OFFICIAL)}; default all")
    commands.add_parser("aptrepo", help="run the apt repository, print its key's fingerprint")
    host = commands.add_parser("host", help="test hosts").add_subparsers(dest="action", required=True, metavar="ACTION")
    up = host.add_parser("up", help="have a host up")
    up.add_argument("name", metavar="NAME")
    up.add_argument("--suite", choices=["trixie", "bookworm"], default="trixie")
    up.add_argument("--publish", action="append", default=[], metavar="ADDRESS:PORT:PORT", help="as docker run has it")
    for action, text in (("down", "remove a host and all it holds"), ("reboot", "reboot a host and wait for it")):
        host.add_parser(action, help=text).add_argument("name", metavar="NAME")
    host.add_parser("list", help="list the hosts")
    cleaner = commands.add_parser("clean", help="remove hosts, registry, network, volumes; stop our engine")
    cleaner.add_argument("--caches", action="store_true", help="also images, the builder's cache, the cache directory")
    return top


def run(options: argparse.Namespace) -> int:
    """Run the chosen command; return the exit code."""
    if options.command == "engine":
        engine.ensure_engine()
    elif options.command == "engine-stop":
        engine.stop_engine()
    elif options.command == "docker-cli":
        engine.say(engine.docker_cli())
    elif options.command == "official":
        reachable = registry.docker_hub_reachable()
        engine.say(f"Docker Hub is {'reachable' if reachable else 'not reachable'}")
        return 0 if reachable else 1
    elif options.command == "build":
        engine.ensure_engine()
        build.build(options.names or list(recipes.DEFAULT), force=options.force)
    elif options.command == "status":
        engine.say("\n".join(build.status()))
    elif options.command == "registry":
        registry.ensure_registry(options.names or list(recipes.OFFICIAL))
    elif options.command == "aptrepo":
        engine.say(registry.ensure_apt_repository())
    elif options.command == "host":
        run_host(options)
    elif options.command == "clean":
        clean.clean(caches=options.caches)
    return 0


def run_host(options: argparse.Namespace) -> None:
    """Run a command on test hosts."""
    if options.action == "up":
        hosts.up(options.name, suite=options.suite, publish=options.publish)
    elif options.action == "down":
        hosts.down(options.name)
    elif options.action == "reboot":
        engine.say(f"{options.name}: up again after {hosts.reboot(options.name):.1f} s")
    else:
        engine.say("\n".join(hosts.names()))


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments, run the command, print errors for a person; return the exit code."""
    options = parser().parse_args(argv)
    try:
        return run(options)
    except ImagesError as error:
        engine.warn(f"error: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
