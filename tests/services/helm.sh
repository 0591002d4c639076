#!/usr/bin/env bash
# Builds Helm for the tests of the chart, once, and fetches the schemas of the custom resources that
# the chart may make; prints the path of the program. The schemas lie beside its folder, in crds/.
#
# All of it comes through Go's module proxy: every version is named here, and what it contains is
# checked against the sums below or, as the machine's Go is configured, Go's checksum database. Takes
# some minutes of two processors and 60 MB in ~/.cache/withdrawals-worker/helm (WITHDRAWALS_TEST_HELM).
#
# Where it cannot be had it says why and prints nothing; with CI=true that is a failure.
set -euo pipefail

cache=${WITHDRAWALS_TEST_HELM:-${XDG_CACHE_HOME:-$HOME/.cache}/withdrawals-worker/helm}
helm=helm.sh/helm/v3/cmd/helm@v3.22.0

# A module, the sum of its content, the folder of its CRDs, and which of them.
schemas=(
  "github.com/prometheus-operator/prometheus-operator@v0.85.0
   h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s= example/prometheus-operator-crd
   monitoring.coreos.com_podmonitors monitoring.coreos.com_servicemonitors
   monitoring.coreos.com_prometheusrules"
  "github.com/kedacore/keda/v2@v2.21.0
   h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps= config/crd/bases
   keda.sh_scaledobjects keda.sh_triggerauthentications"
  "github.com/external-secrets/external-secrets@v1.3.2
   h1:u2J8RjlHIeF0oZCqtl92adI/uZWUwOesJIDkfql6LqQ= config/crds/bases
   external-secrets.io_externalsecrets"
  "github.com/rabbitmq/messaging-topology-operator@v1.17.4
   h1:WCvf2BolzOwX8czc52EM/KMluKgjHRUIWs5DtubWUB8= config/crd/bases
   rabbitmq.com_bindings rabbitmq.com_exchanges rabbitmq.com_queues"
)

main() {
  local pins
  pins=$(cksum <"${BASH_SOURCE[0]}")
  mkdir -p "$(dirname "$cache")"
  exec 9>"$cache.lock"
  # Another run, or another process of this one, may be at it just now. Nothing that go leaves behind
  # gets the lock (9>&-).
  ! command -v flock >/dev/null || flock 9
  if [[ $(cat "$cache/pins" 2>/dev/null) != "$pins" ]]; then
    command -v go >/dev/null ||
      cannot "Go is missing (any since 1.21): https://go.dev/dl, Debian's golang-go, or brew install go"
    # Whatever has the final name is whole: it is given last.
    rm -rf "$cache.partial"
    mkdir -p "$cache.partial/bin" "$cache.partial/crds"
    echo "Building $helm into $cache" >&2
    build_helm "$cache.partial/bin" >"$cache.log" 2>&1 9>&- || failed "it could not be built"
    fetch_schemas "$cache.partial/crds" >"$cache.log" 2>&1 9>&- || failed "no schemas of custom resources"
    echo "$pins" >"$cache.partial/pins"
    rm -rf "$cache"
    mv "$cache.partial" "$cache"
  fi
  "$cache/bin/helm" version >/dev/null || cannot "the built program does not run here"
  echo "$cache/bin/helm"
}

build_helm() { # into this folder
  GOBIN=$1 CGO_ENABLED=0 go install -ldflags "-s -w" "$helm"
}

fetch_schemas() { # into this folder
  local entry words told folder name
  for entry in "${schemas[@]}"; do
    read -r -d '' -a words <<<"$entry" || true
    # Out of any module's folder, whose own pins would count.
    told=$(cd "$1" && go mod download -json "${words[0]}") || { echo "$told"; return 1; }
    folder=$(field Dir <<<"$told")
    [[ $(field Sum <<<"$told") == "${words[1]}" ]] || {
      echo "${words[0]} is not what it was: $told"
      return 1
    }
    for name in "${words[@]:3}"; do
      install -m 644 "$folder/${words[2]}/$name.yaml" "$1/" || return 1
    done
  done
}

field() { # of this name, in the JSON that Go writes, one field a line
  sed -n 's/^\t"'"$1"'": "\(.*\)",\{0,1\}$/\1/p'
}

failed() {
  tail -n 20 "$cache.log" >&2
  cannot "$1"
}

cannot() {
  echo "No Helm: $1" >&2
  [[ ${CI:-} != true ]] || exit 1
  exit 0
}

main
