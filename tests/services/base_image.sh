#!/usr/bin/env bash
# Makes the root file system of the image `debian:trixie-slim` from Debian's packages, once, and prints
# the path of its tar file, so that the tests build our image without any registry. Takes about half a
# minute and 90 MB, in WITHDRAWALS_TEST_BASE_IMAGE. Starts nothing, and no mount of it outlives it.
#
# Where it cannot be had it says why and prints nothing; with CI=true that is a failure.
set -euo pipefail

cache=${WITHDRAWALS_TEST_BASE_IMAGE:-${XDG_CACHE_HOME:-$HOME/.cache}/withdrawals-worker/base-image}
release=trixie
what="base image"
# shellcheck source=tests/services/debian.sh
source "$(dirname "${BASH_SOURCE[0]}")/debian.sh"

main() {
  local tar=$cache/debian-$release-slim.tar
  require apt-get debootstrap flock unshare
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9 # another run may be at it just now
  if [[ ! -e $tar ]]; then
    echo "Making $tar" >&2
    # Whatever has the final name is whole: it is given last.
    as_root rm -rf "$cache/root"
    debian_tree "$cache/root" "$cache/log"
    as_root chmod 755 "$cache/root"
    slim "$cache/root"
    as_root tar --create --numeric-owner --sort=name --one-file-system --exclude='./dev/*' \
      --directory "$cache/root" . >"$tar.partial"
    as_root rm -rf "$cache/root"
    mv "$tar.partial" "$tar"
  fi
  echo "$tar"
}

slim() { # the tree in this folder, as the image of that name is: without documents, by dpkg's own rules
  as_root tee "$1/etc/dpkg/dpkg.cfg.d/docker" >/dev/null <<'RULES'
path-exclude /usr/share/doc/*
path-exclude /usr/share/info/*
path-exclude /usr/share/linda/*
path-exclude /usr/share/lintian/overrides/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
path-include /usr/share/doc/*/copyright
path-include /usr/share/locale/locale.alias
RULES
  as_root tee "$1/etc/apt/apt.conf.d/docker-clean" >/dev/null <<'RULES'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
RULES
  as_root find "$1/usr/share/doc" -type f ! -name copyright -delete
  as_root find "$1"/usr/share/{info,man,locale,lintian} -type f ! -name locale.alias -delete
  as_root find "$1"/usr/share/{doc,info,man,locale,lintian} -depth -mindepth 1 \( -type l -o -type d -empty \) -delete
  as_root find "$1/var/log" "$1/var/cache/ldconfig" -type f -delete
  as_root rm -f "$1/etc/hostname" "$1/etc/resolv.conf" "$1/etc/machine-id" "$1/var/lib/dpkg/status-old"
}

main
