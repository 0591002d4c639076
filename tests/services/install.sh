#!/usr/bin/env bash
# Installs the programs of RabbitMQ, PostgreSQL and Prometheus (promtool), debootstrap and buildah, where
# they are missing; the tests start them themselves. Starts no service, and touches none that is there.
set -euo pipefail

have() { # whether one of these paths, or the program of that name, can be run
  local path
  command -v "$1" >/dev/null && return
  for path in "${@:2}"; do [[ -x $path ]] && return; done
  return 1
}

missing=()
have rabbitmq-server /usr/lib/rabbitmq/bin/rabbitmq-server \
  /{opt/homebrew,usr/local}/opt/rabbitmq/sbin/rabbitmq-server || missing+=(rabbitmq-server)
have initdb /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb \
  /{opt/homebrew,usr/local}/opt/postgresql@*/bin/initdb || missing+=(postgresql)
have promtool || missing+=(prometheus)
# RabbitMQ 4.0 is installed with it, into a folder, and the base of our image; see rabbitmq4.sh and
# base_image.sh. Both are for Debian and Ubuntu alone, and so is building the image in the tests.
! command -v apt-get >/dev/null || have debootstrap /usr/sbin/debootstrap || missing+=(debootstrap)
! command -v apt-get >/dev/null || have buildah || missing+=(buildah)
((${#missing[@]})) || exit 0

if ! command -v apt-get >/dev/null; then
  # Not a failure: without them the tests that need them are skipped, and say so.
  echo "Missing for some tests: ${missing[*]}. On macOS: brew install rabbitmq postgresql@16" >&2
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || { echo "Run as root: apt-get install ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi

# Debian starts what it installs, unless this file says no (101). A machine may have one already.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
fi
"${as_root[@]}" apt-get update --quiet=2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install --quiet=2 --yes --no-install-recommends "${missing[@]}"
