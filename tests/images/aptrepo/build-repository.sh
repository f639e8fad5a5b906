#!/bin/bash
# Makes a signed apt repository laid out and named as Docker's own, from the packages of a Debian release: Docker's
# names, versions in Docker's style, containerd.io with runc in it. What runs is Debian's engine.
set -euo pipefail

root=/srv/linux/debian
suites=(bookworm trixie)
architecture=$(dpkg --print-architecture)
work=$(mktemp -d)
cd "$work"

fetch() { # package, release
  local lists=$work/lists-$2
  mkdir -p "$lists/state/lists/partial" "$lists/cache"
  sed "s/ [a-z]*\(-updates\|-security\)\? main$/ $2\1 main/" /etc/apt/sources.list > "$lists/sources.list"
  local options=(-o "Dir::Etc::SourceList=$lists/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$lists/state/lists" -o "Dir::Cache=$lists/cache" -o APT::Sandbox::User=root -qq)
  [ -e "$lists/updated" ] || apt-get "${options[@]}" update
  touch "$lists/updated"
  apt-get "${options[@]}" download "$1"
  rm -rf "$1-$2"
  dpkg-deb --raw-extract "$1"_*.deb "$1-$2"
  rm -f "$1"_*.deb
}

field() { sed -n "s/^$2: //p" "$1/DEBIAN/control"; }

upstream() { field "$1" Version | sed 's/^[0-9]*://; s/[+~-].*//'; }

package() { # tree, new name, version, suite, relations (control fields)
  local tree=$work/out-$2-$4
  cp -a "$1" "$tree"
  rm -rf "$tree/usr/share/doc" "$tree/usr/share/man" "$tree/usr/share/lintian" "$tree/DEBIAN/md5sums"
  {
    printf 'Package: %s\nVersion: %s\nArchitecture: %s\n' "$2" "$3" "$architecture"
    printf 'Maintainer: Test repository <root@localhost>\nSection: admin\nPriority: optional\n'
    printf 'Description: %s under the name that Docker gives it\n' "$(field "$1" Package)"
    printf '%s\n' "$5"
  } > "$tree/DEBIAN/control"
  dpkg-deb --root-owner-group -Zgzip -z1 --build "$tree" "$root/dists/$4/pool/stable/$architecture/" > /dev/null
  rm -rf "$tree"
}

newest=${suites[-1]}
for name in docker.io docker-cli containerd docker-compose docker-buildx; do
  fetch "$name" "$newest"
done
ln -s ../sbin/dockerd "docker.io-$newest/usr/bin/dockerd"
ln -s ../sbin/docker-proxy "docker.io-$newest/usr/bin/docker-proxy"
rm -f "docker-compose-$newest/usr/bin/docker-compose"

for suite in "${suites[@]}"; do
  mkdir -p "$root/dists/$suite/pool/stable/$architecture" "$root/dists/$suite/stable/binary-$architecture"
  case $suite in bookworm) release=12 ;; trixie) release=13 ;; esac
  suffix="-1~debian.$release~$suite"
  # runc is the one program that needs the libc of its own release.
  fetch runc "$suite"
  cp -a "containerd-$newest" "containerd-$suite.with-runc"
  cp -a "runc-$suite/usr/." "containerd-$suite.with-runc/usr/"
  package "containerd-$suite.with-runc" containerd.io "$(upstream "containerd-$newest")$suffix" "$suite" \
    $'Depends: libc6 (>= 2.34), libseccomp2 (>= 2.5.0)\nProvides: containerd, runc\nConflicts: containerd, runc\nReplaces: containerd, runc'
  package "docker-cli-$newest" docker-ce-cli "5:$(upstream "docker-cli-$newest")$suffix" "$suite" \
    $'Depends: libc6 (>= 2.34)\nRecommends: docker-buildx-plugin, docker-compose-plugin\nConflicts: docker-cli, docker.io\nReplaces: docker-cli, docker.io'
  package "docker.io-$newest" docker-ce "5:$(upstream "docker.io-$newest")$suffix" "$suite" \
    $'Depends: containerd.io, docker-ce-cli, iptables, tini, adduser, libc6 (>= 2.34), libsystemd0\nConflicts: docker.io\nReplaces: docker.io'
  package "docker-buildx-$newest" docker-buildx-plugin "$(upstream "docker-buildx-$newest")$suffix" "$suite" \
    $'Depends: libc6 (>= 2.34)\nEnhances: docker-ce-cli\nConflicts: docker-buildx\nReplaces: docker-buildx'
  package "docker-compose-$newest" docker-compose-plugin "$(upstream "docker-compose-$newest")$suffix" "$suite" \
    $'Depends: libc6 (>= 2.34)\nEnhances: docker-ce-cli\nConflicts: docker-compose\nReplaces: docker-compose'
done

export GNUPGHOME=$work/gnupg
mkdir -m 0700 "$GNUPGHOME"
gpg --batch --quiet --passphrase '' --quick-generate-key 'Test repository <root@localhost>' rsa3072 sign never
gpg --batch --armor --export > "$root/gpg"
gpg --batch --with-colons --fingerprint | sed -n 's/^fpr:*\([0-9A-F]*\):.*/\1/p' | head -n 1 > /srv/fingerprint

cd "$root"
for suite in "${suites[@]}"; do
  packages=dists/$suite/stable/binary-$architecture/Packages
  apt-ftparchive packages "dists/$suite/pool" > "$packages"
  gzip --keep "$packages"
  apt-ftparchive -o APT::FTPArchive::Release::Origin=Docker -o APT::FTPArchive::Release::Label='Docker CE' \
    -o "APT::FTPArchive::Release::Suite=$suite" -o "APT::FTPArchive::Release::Codename=$suite" \
    -o "APT::FTPArchive::Release::Architectures=$architecture" -o APT::FTPArchive::Release::Components=stable \
    release "dists/$suite" > "$work/Release"
  mv "$work/Release" "dists/$suite/Release"
  gpg --batch --quiet --clearsign --output "dists/$suite/InRelease" "dists/$suite/Release"
  gpg --batch --quiet --armor --detach-sign --output "dists/$suite/Release.gpg" "dists/$suite/Release"
done
rm -rf "$work"
