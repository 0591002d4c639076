#!/usr/bin/env bash
# Installs RabbitMQ 4.0 (Debian trixie's) beside whatever the machine has, once, and prints the path
# of its rabbitmq-server: give that to the tests as WITHDRAWALS_TEST_RABBITMQ_SERVER. Takes about a
# minute and 250 MB, in WITHDRAWALS_TEST_CACHE. Starts nothing, and no mount of it outlives it.
#
# Where it cannot be had it says why and prints nothing; with CI=true that is a failure.
set -euo pipefail

cache=${WITHDRAWALS_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/withdrawals-worker/rabbitmq4}
release=trixie
programs=(lib/rabbitmq/bin/rabbitmq-server lib/rabbitmq/bin/rabbitmqctl bin/epmd)

main() {
  require apt-get debootstrap flock unshare
  mkdir -p "$(dirname "$cache")"
  exec 9>"$cache.lock"
  flock 9 # another run may be at it just now
  if [[ ! -e $cache ]]; then
    # Whatever has the final name is whole: it is given last.
    as_root rm -rf "$cache.partial"
    mkdir -p "$cache.partial/bin"
    install_tree "$cache.partial/root"
    write_wrappers "$cache.partial/bin"
    mv "$cache.partial" "$cache"
  fi
  "$cache/bin/rabbitmqctl" --quiet help >/dev/null || cannot "The installed programs do not run here"
  echo "$cache/bin/rabbitmq-server"
}

install_tree() { # into this folder
  local mirror proxy
  mirror=$(first_mirror)
  [[ -n $mirror ]] || cannot "No source of apt has Debian $release; name one: WITHDRAWALS_TEST_MIRROR"
  proxy=$(apt_setting Acquire::http::Proxy "${http_proxy:-}")
  echo "Installing RabbitMQ 4.0 of Debian $release into $cache" >&2
  # Mounts and processes of its own: what the packages mount or start ends with it.
  as_root env http_proxy="$proxy" \
    unshare --mount --pid --fork --kill-child --mount-proc \
    debootstrap --force-check-gpg --variant=minbase --include=rabbitmq-server \
    "$release" "$1" "$mirror" >"$cache.log" 2>&1 9>&- || {
    tail -n 20 "$cache.log" >&2
    exit 1
  }
  as_root find "$1/var/cache/apt" "$1/var/lib/apt/lists" -type f -delete
}

write_wrappers() { # into this folder, one for each program
  local program
  for program in "${programs[@]}"; do
    cat >"$1/${program##*/}" <<WRAPPER
#!/bin/sh
# Puts the tree's /usr over ours, for this process and its children alone, and becomes the program:
# every path but those below /usr stays what it is.
tree=\$(dirname "\$(dirname "\$(readlink -f "\$0")")")/root
[ "\$(id -u)" = 0 ] || map=--map-root-user
exec unshare --mount \$map -- \\
  sh -c 'mount --bind "\$0/usr" /usr && exec "\$@"' "\$tree" /usr/$program "\$@"
WRAPPER
    chmod 755 "$1/${program##*/}"
  done
}

first_mirror() { # among apt's own sources, of those that have the release
  local uri found
  found=$(mktemp)
  while read -r uri; do
    if /usr/lib/apt/apt-helper download-file "$uri/dists/$release/InRelease" "$found" &>/dev/null &&
      grep --quiet '^Origin: Debian$' "$found"; then
      echo "$uri"
      break
    fi
  done < <(
    [[ -z ${WITHDRAWALS_TEST_MIRROR:-} ]] || echo "$WITHDRAWALS_TEST_MIRROR"
    apt-get indextargets --format '$(CREATED_BY) $(COMPONENT) $(REPO_URI)' |
      sed -n 's#^Packages main \(.*[^/]\)/*$#\1#p' | sort -u
  )
  rm -f "$found"
}

apt_setting() { # of this name, or else the second argument
  local value=""
  eval "$(apt-config shell value "$1")"
  echo "${value:-$2}"
}

require() { # these programs, and what the wrappers build on
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || [[ -x /usr/sbin/$program ]] ||
      cannot "$program is missing; see tests/services/install.sh"
  done
  [[ /bin -ef /usr/bin ]] || cannot "This system has programs outside of /usr"
}

cannot() {
  echo "No RabbitMQ 4.0: $1" >&2
  [[ ${CI:-} != true ]] || exit 1
  exit 0
}

as_root() {
  if ((EUID == 0)); then
    PATH=$PATH:/usr/sbin:/sbin "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    cannot "root's rights are needed once, to install it"
  fi
}

main
