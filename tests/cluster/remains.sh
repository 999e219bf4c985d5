# shellcheck shell=bash disable=SC2154
# Takes away whatever there is of the cluster of this run folder: of a healthy one, of one half started, of one whose
# processes were killed. Touches nothing else. Read by up and down.

remove_remains() {
  end_processes
  remove_control_groups
  remove_run_folder
}

# With the first process of the namespaces the kernel ends every other one in them, and their mounts and network.
end_processes() {
  local pid deadline=$((SECONDS + 20))
  while [ -n "$(node_processes)" ]; do
    for pid in $(node_processes); do kill -KILL "$pid" 2>/dev/null || true; done
    [ "$SECONDS" -lt "$deadline" ] || fail "processes of the cluster that do not end: $(node_processes | tr '\n' ' ')"
    sleep 0.05
  done
}

# The roots of all hierarchies (version 1), or of the one (version 2).
control_group_roots() { awk '$3 ~ /^cgroup2?$/ { print $2 }' /proc/self/mounts; }

make_control_groups() {
  local root group name controllers
  name=$(control_group)
  while read -r root; do
    group=$root/$name
    if [ -e "$root/cgroup.subtree_control" ]; then
      # The kubelet wants these to be handed down; where another keeps one for itself, it will say which.
      for controllers in cpuset cpu io memory pids; do
        echo "+$controllers" >"$root/cgroup.subtree_control" 2>/dev/null || true
      done
    fi
    mkdir -p "$group"
    # In version 1 a new group has no CPUs and no memory until it is given some.
    if [ -e "$root/cpuset.cpus" ] && [ -e "$group/cpuset.cpus" ] && [ ! -e "$root/cgroup.subtree_control" ]; then
      cat "$root/cpuset.cpus" >"$group/cpuset.cpus"
      cat "$root/cpuset.mems" >"$group/cpuset.mems"
    fi
    # All pods together are one group among the processes of the machine: as much as one of them has would leave
    # them a few percent beside a build (shares of 1024, or a weight of 100, are one process').
    if [ -e "$group/cpu.shares" ]; then echo 16384 >"$group/cpu.shares"; fi
    if [ -e "$group/cpu.weight" ]; then echo 1600 >"$group/cpu.weight"; fi
  done < <(control_group_roots)
}

remove_control_groups() {
  local root group deadline=$((SECONDS + 20))
  while read -r root; do
    group=$root/$(control_group)
    # A group can be removed once the last process in it is gone, which may take a moment after it was killed.
    while [ -d "$group" ] && ! find "$group" -depth -type d -exec rmdir {} + 2>/dev/null; do
      [ "$SECONDS" -lt "$deadline" ] || fail "$group: still in use by $(find "$group" -name cgroup.procs -exec cat {} + | tr '\n' ' ')"
      sleep 0.05
    done
  done < <(control_group_roots)
}

# Its mounts were seen by the cluster's processes only; should one be left all the same, nothing behind it is deleted.
remove_run_folder() {
  [ -d "$run" ] || return 0
  local mounted
  mounted=$(awk -v folder="$run/" 'index($2, folder) == 1 { print $2 }' /proc/self/mounts)
  [ -z "$mounted" ] || fail "still mounted, unmount it first: $mounted"
  rm -rf --one-file-system "$run"
}
