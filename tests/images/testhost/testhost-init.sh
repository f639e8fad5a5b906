#!/bin/sh
# First process of a test host. A container that is not --privileged gets /sys, its own cgroup tree and parts of
# /proc read-only, even with CAP_SYS_ADMIN. systemd and the engine inside need to write there.
for mount_point in /sys /sys/fs/cgroup $(awk '$3 ~ /^cgroup/ {print $2}' /proc/mounts); do
  mount -o remount,rw "$mount_point" 2>/dev/null || mount -o remount,bind,rw "$mount_point" 2>/dev/null || true
done
for mount_point in /proc/sys /proc/bus /proc/fs /proc/irq /proc/sysrq-trigger; do
  mount -o remount,bind,rw "$mount_point" 2>/dev/null || true
done
# systemd counts on shared mounts (it leaves that to the container's manager): a service's credentials need them.
mount --make-rshared /
exec /lib/systemd/systemd "$@"
