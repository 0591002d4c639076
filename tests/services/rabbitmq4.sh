#!/usr/bin/env bash
# Installs RabbitMQ 4.0 (Debian trixie's) beside whatever the machine has, once, and prints the path
# of its rabbitmq-server: give that to the tests as WITHDRAWALS_TEST_RABBITMQ_SERVER. Takes about a
# minute and 250 MB, in WITHDRAWALS_TEST_CACHE. Starts nothing, and no mount of it outlives it.
#
# Where it cannot be had it says why and prints nothing; with CI=true that is a failure.
set -euo pipefail

cache=${WITHDRAWALS_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/withdrawals-worker/rabbitmq4}
release=trixie
what="RabbitMQ 4.0"
# shellcheck source=tests/services/debian.sh
source "$(dirname "${BASH_SOURCE[0]}")/debian.sh"
programs=(lib/rabbitmq/bin/rabbitmq-server lib/rabbitmq/bin/rabbitmqctl bin/epmd)

main() {
  require apt-get debootstrap flock unshare
  # What the wrappers build on.
  [[ /bin -ef /usr/bin ]] || cannot "This system has programs outside of /usr"
  mkdir -p "$(dirname "$cache")"
  exec 9>"$cache.lock"
  flock 9 # another run may be at it just now
  if [[ ! -e $cache ]]; then
    # Whatever has the final name is whole: it is given last.
    as_root rm -rf "$cache.partial"
    mkdir -p "$cache.partial/bin"
    echo "Installing RabbitMQ 4.0 of Debian $release into $cache" >&2
    debian_tree "$cache.partial/root" "$cache.log" --include=rabbitmq-server
    write_wrappers "$cache.partial/bin"
    mv "$cache.partial" "$cache"
  fi
  "$cache/bin/rabbitmqctl" --quiet help >/dev/null || cannot "The installed programs do not run here"
  echo "$cache/bin/rabbitmq-server"
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

main
