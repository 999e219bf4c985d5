# shellcheck shell=bash disable=SC2154
# The cluster's processes: how each is called, started, stopped and waited for. Read by up and component.

# Each has a file in $run/components that starts it, writes its log to $run/log and its number (inside the
# cluster's namespaces) to $run/pid.
write_component() { # write_component NAME COMMAND ARGUMENT...
  local name=$1
  shift
  {
    printf '#!/bin/sh\n# Starts %s; written by tests/cluster/up.\n' "$name"
    printf 'echo $$ >%q\n' "$run/pid/$name"
    printf 'exec'
    printf ' %q' "$@"
    printf ' >>%q 2>&1\n' "$run/log/$name.log"
  } >"$run/components/$name"
  chmod +x "$run/components/$name"
}

write_components() {
  local api bin=$run/bin pki=$run/pki
  # shellcheck disable=SC2054 # the commas are in the flags
  api=(
    --advertise-address=10.99.0.1 --secure-port=6443
    --etcd-servers=http://127.0.0.1:2379
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key"
    --token-auth-file="$pki/tokens.csv" --client-ca-file="$pki/ca.crt"
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged
    --service-account-issuer=https://kubernetes.default.svc.cluster.local
    --service-account-key-file="$pki/accounts.pub" --service-account-signing-key-file="$pki/accounts.key"
    --service-cluster-ip-range=10.96.0.0/16
    # By name, logs and exec would have to resolve the node.
    --kubelet-preferred-address-types=InternalIP
    --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key"
    # The aggregation layer, for tests that serve metrics.
    --requestheader-client-ca-file="$pki/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group
    --requestheader-extra-headers-prefix=X-Remote-Extra-
    --proxy-client-cert-file="$pki/front-proxy-client.crt" --proxy-client-key-file="$pki/front-proxy-client.key"
  )
  write_component etcd etcd --data-dir "$run/etcd" --unsafe-no-fsync --listen-peer-urls http://127.0.0.1:2380 \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
  write_component containerd containerd --config "$run/config/containerd.toml"
  write_component kube-apiserver "$bin/kube-apiserver" "${api[@]}"
  # A scale-in follows its metric within seconds, not minutes.
  write_component kube-controller-manager "$bin/kube-controller-manager" --leader-elect=false \
    --kubeconfig="$run/config/kube-controller-manager" --use-service-account-credentials \
    --root-ca-file="$pki/ca.crt" --service-account-private-key-file="$pki/accounts.key" \
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" \
    --allocate-node-cidrs --cluster-cidr=10.244.0.0/16 --service-cluster-ip-range=10.96.0.0/16 \
    --flex-volume-plugin-dir="$run/kubelet/volume-plugins" \
    --horizontal-pod-autoscaler-sync-period=2s --horizontal-pod-autoscaler-downscale-stabilization=0s
  write_component kube-scheduler "$bin/kube-scheduler" --leader-elect=false --kubeconfig="$run/config/kube-scheduler"
  write_component kubelet "$bin/kubelet" --kubeconfig="$run/config/kubelet" --config="$run/config/kubelet.yaml" \
    --root-dir="$run/kubelet" --cert-dir="$run/kubelet/pki" --node-ip=10.99.0.1 --hostname-override=node0
  write_component kube-proxy "$bin/kube-proxy" --kubeconfig="$run/config/kube-proxy" --hostname-override=node0 \
    --proxy-mode=iptables --cluster-cidr=10.244.0.0/16 --conntrack-max-per-core=0
}

start_component() { # start_component NAME
  rm -f "$run/pid/$1"
  # Without the scripts' lock, which would be held as long as the component runs.
  inside setsid --fork "$run/components/$1" </dev/null >/dev/null 2>&1 9>&-
}

component_runs() { # component_runs NAME
  local number
  number=$(cat "$run/pid/$1" 2>/dev/null) && [ -n "$number" ] && inside kill -0 "$number" 2>/dev/null
}

# Waits until a command succeeds; where it does not in time, or the component ends first, says whose fault it is.
wait_for() { # wait_for SECONDS COMPONENT WHAT COMMAND...
  local limit=$1 component=$2 what=$3 deadline
  shift 3
  deadline=$((SECONDS + limit))
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$deadline" ]; then give_up "$component" "$what: not within $limit s"; fi
    if [ -s "$run/pid/$component" ] && ! component_runs "$component"; then give_up "$component" "it ended ($what)"; fi
    sleep 0.1
  done
}

give_up() { # give_up COMPONENT WHY
  say "$1: $2. The end of $run/log/$1.log:"
  tail -n 30 "$run/log/$1.log" >&2 || true
  exit 1
}

cluster_kubectl() { inside "$run/bin/kubectl" --kubeconfig "$kubeconfig" --request-timeout=5s "$@"; }

etcd_answers() { inside "$run/bin/kubectl" --server http://127.0.0.1:2379 get --raw /health; }
containerd_answers() { ctr --address "$containerd_socket" --connect-timeout 2s version; }
apiserver_is_ready() { cluster_kubectl get --raw /readyz; }
node_is_ready() {
  [ "$(cluster_kubectl get node node0 -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = True ]
}
dns_is_ready() {
  [ "$(cluster_kubectl -n kube-system get deployment coredns -o 'jsonpath={.status.readyReplicas}')" = 1 ]
}
# Pods are refused until their namespace has one.
default_account_exists() { cluster_kubectl get serviceaccount default; }
