#!/usr/bin/env bash
# Builds a Kubernetes without nodes, once: etcd, API server, controllers, scheduler and kubectl, as one
# program under five names; and two more Helms. Prints the folder they are in.
#
# All of it comes through Go's module proxy: versions are named in go.mod and here; go.sum, or Go's
# checksum database as the machine's Go is configured, says what they contain. Takes a quarter of an hour
# of two processors, 2 GB of Go's own caches and 300 MB in ~/.cache/withdrawals-worker/kubernetes
# (WITHDRAWALS_TEST_KUBERNETES names a folder that has them already).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/withdrawals-worker/kubernetes
# Before 3.22, Helm refuses a rollback to what was kept; the next generation applies on the server's side.
helms=("3.17 helm.sh/helm/v3/cmd/helm@v3.17.3" "4 helm.sh/helm/v4/cmd/helm@v4.3.1")
export CGO_ENABLED=0

main() {
  local pins
  pins=$(cat "$here"/{build.sh,main.go,go.mod,go.sum} | cksum)
  mkdir -p "$(dirname "$cache")"
  exec 9>"$cache.lock"
  ! command -v flock >/dev/null || flock 9
  if [[ $(cat "$cache/pins" 2>/dev/null) != "$pins" ]]; then
    # Whatever has the final name is whole: it is given last.
    rm -rf "$cache.partial"
    mkdir -p "$cache.partial"
    build "$cache.partial" >&2 9>&-
    echo "$pins" >"$cache.partial/pins"
    rm -rf "$cache"
    mv "$cache.partial" "$cache"
  fi
  echo "$cache"
}

build() { # into this folder
  local version package name path flags="-s -w"
  version=$(sed -n 's#^[[:space:]]*k8s.io/kubernetes v#v#p' "$here/go.mod")
  # Unset, the programs call themselves v0.0.0, and Helm asks for 1.29.
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$(cut -d. -f2 <<<"$version")"
  done
  echo "Building Kubernetes $version into $cache" >&2
  (cd "$here" && go build -trimpath -ldflags "$flags" -o "$1/kubernetes" .)
  for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubectl; do
    ln -s kubernetes "$1/$name"
  done
  for name in "${helms[@]}"; do
    path=${name#* }
    echo "Building $path" >&2
    GOBIN=$1 go install -ldflags "-s -w" "$path"
    mv "$1/helm" "$1/helm-${name%% *}"
  done
}

main
