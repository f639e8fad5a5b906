#!/bin/sh
set -eu
exec rootlesskit --net=slirp4netns --mtu=1400 --disable-host-loopback --port-driver=builtin --copy-up=/etc --copy-up=/run \
    dockerd --host="${DOCKER_HOST:-unix://$XDG_RUNTIME_DIR/docker.sock}" "$@"
