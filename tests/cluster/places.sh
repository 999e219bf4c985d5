# shellcheck shell=bash disable=SC2034
# Where the cluster of the tests is kept, and how its scripts speak. Read by all of them, does nothing itself.
#
# LASTCALL_CACHE    the cache folder, outside the source tree (default: the user's cache folder, /lastcall in it)
# LASTCALL_CLUSTER  the cluster's name (default: main); clusters of different names run side by side

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${LASTCALL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lastcall}
# Everything of one cluster but its binaries.
run=$cache/run/${LASTCALL_CLUSTER:-main}
kubeconfig=$run/kubeconfig
containerd_socket=$run/containerd.sock

say() { printf 'cluster: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

# Whether the user brought a cluster (`enter` sets KUBECONFIG too, to ours).
own_cluster() { [ -n "${KUBECONFIG:-}" ] && [ "$KUBECONFIG" != "$kubeconfig" ]; }

need_root() {
  [ "$(id -u)" = 0 ] ||
    fail "namespaces and control groups need root; or set KUBECONFIG, and the tests use the cluster it names"
}

# The folder of the binaries, named after what they are built from: where that changes, so does the folder. A
# cluster that runs has a link to its own in $run/bin.
bin() { printf '%s/bin-%s\n' "$cache" "$(build_key)"; }
build_key() {
  { go env GOVERSION GOARCH && cat "$here"/build "$here"/go/go.mod "$here"/go/go.sum "$here"/go/*/*.go; } |
    sha256sum | cut -c1-12
}

# The cluster's own root among the control groups, so that two clusters never see each other's pods.
control_group() { printf 'lastcall-%s\n' "$(printf %s "$run" | sha256sum | cut -c1-10)"; }

# The processes that were started as the node of this run folder, as this machine numbers them. They are known
# by their command line (the script `node`, and last the run folder): a number alone may be somebody else's by now.
node_processes() {
  local file arguments
  for file in /proc/[0-9]*/cmdline; do
    arguments=()
    mapfile -d '' -t arguments 2>/dev/null <"$file" || continue
    [ "${#arguments[@]}" -ge 2 ] || continue
    case "${arguments[-2]}" in
      */tests/cluster/node) ;;
      *) continue ;;
    esac
    if [ "${arguments[-1]}" = "$run" ]; then
      file=${file%/cmdline}
      printf '%s\n' "${file#/proc/}"
    fi
  done
}

# The first process of the cluster's namespaces, as this machine numbers it; fails where there is none.
node_pid() {
  local pid
  for pid in $(node_processes); do
    # unshare, its parent, has the same command line, but is in no namespace of its own.
    if awk '$1 == "NSpid:" && NF > 2 && $NF == 1 { found = 1 } END { exit !found }' "/proc/$pid/status" 2>/dev/null; then
      printf '%s\n' "$pid"
      return
    fi
  done
  return 1
}

# Runs a command among the cluster's processes, with its network and its mounts.
inside() {
  local pid
  pid=$(node_pid) || { say "not running: $run"; return 1; }
  nsenter --target "$pid" --mount --uts --ipc --net --pid -- "$@"
}
