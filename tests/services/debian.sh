# shellcheck shell=bash
# How the scripts beside this one make a tree of a Debian release, from the machine's own sources of
# apt. To be sourced; says nothing about what the tree is for, and starts nothing.
#
# Who sources it sets `release`, and `what`: the thing that there is not, where it cannot be made.

debian_tree() { # into this folder, with these arguments to debootstrap; what it says goes to that log
  local root=$1 log=$2 mirror proxy
  shift 2
  mirror=$(first_mirror)
  [[ -n $mirror ]] || cannot "No source of apt has Debian $release; name one: WITHDRAWALS_TEST_MIRROR"
  proxy=$(apt_setting Acquire::http::Proxy "${http_proxy:-}")
  # Mounts and processes of its own: what the packages mount or start ends with it.
  as_root env http_proxy="$proxy" \
    unshare --mount --pid --fork --kill-child --mount-proc \
    debootstrap --force-check-gpg --variant=minbase "$@" \
    "$release" "$root" "$mirror" >"$log" 2>&1 9>&- || {
    tail -n 20 "$log" >&2
    exit 1
  }
  as_root find "$root/var/cache/apt" "$root/var/lib/apt/lists" -type f -delete
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

require() { # these programs
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || [[ -x /usr/sbin/$program ]] ||
      cannot "$program is missing; see tests/services/install.sh"
  done
}

cannot() {
  echo "No $what: $1" >&2
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
