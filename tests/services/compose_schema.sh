#!/usr/bin/env bash
# Fetches the schema of compose files, once, and prints its path. It comes through Go's module proxy: the
# version is named here, its content checked against the sum below. Takes seconds and less than 1 MB in
# ~/.cache/withdrawals-worker/compose-schema (WITHDRAWALS_TEST_COMPOSE_SCHEMA).
#
# Where it cannot be had it says why and prints nothing; with CI=true that is a failure.
set -euo pipefail

cache=${WITHDRAWALS_TEST_COMPOSE_SCHEMA:-${XDG_CACHE_HOME:-$HOME/.cache}/withdrawals-worker/compose-schema}
module=github.com/compose-spec/compose-go/v2@v2.16.2
sum=h1:pTp1DqQwJzFd85GzlWsSszKA1ABrV/ySqsClujIcWA8=

main() {
  local schema=$cache/${module##*@}.json told
  if [[ ! -e $schema ]]; then
    command -v go >/dev/null ||
      cannot "Go is missing (any since 1.21): https://go.dev/dl, Debian's golang-go, or brew install go"
    mkdir -p "$cache"
    # Out of any module's folder, whose own pins would count.
    told=$(cd "$cache" && go mod download -json "$module") || cannot "$told"
    [[ $(field Sum <<<"$told") == "$sum" ]] || cannot "$module is not what it was: $told"
    # Whatever has the final name is whole: it is given last. Two runs at once write the same.
    install -m 644 "$(field Dir <<<"$told")/schema/compose-spec.json" "$schema.$$"
    mv "$schema.$$" "$schema"
  fi
  echo "$schema"
}

field() { # of this name, in the JSON that Go writes, one field a line
  sed -n 's/^\t"'"$1"'": "\(.*\)",\{0,1\}$/\1/p'
}

cannot() {
  echo "No schema of compose files: $1" >&2
  [[ ${CI:-} != true ]] || exit 1
  exit 0
}

main
