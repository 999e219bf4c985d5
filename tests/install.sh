#!/usr/bin/env bash
# Installs what the tests (or, with `bench`, the benchmarks) need beside Rust, by package name. Does nothing
# where it is all there. Usage: tests/install.sh [test|bench]
set -euo pipefail
cd "$(dirname "$0")/.."

need() { # need COMMAND PACKAGE ...
  if ! command -v "$1" >/dev/null && ! [ -x "/usr/sbin/$1" ]; then missing+=("${@:2}"); fi
}
missing=()
case "${1:-test}" in
  test)
    need curl curl
    need nginx nginx-light
    ;;
  bench)
    need haproxy haproxy
    need nginx nginx-light
    need wrk wrk
    ;;
  *) echo "usage: tests/install.sh [test|bench]" >&2; exit 2 ;;
esac
if [ "${#missing[@]}" -gt 0 ]; then
  sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
if [ "${1:-test}" = test ] && [ -x tests/clients/install.sh ]; then tests/clients/install.sh; fi
