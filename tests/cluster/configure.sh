# shellcheck shell=bash disable=SC2154
# Writes what the cluster's processes read: certificates, tokens, kubeconfigs, settings. Read by up.
# Who may do what is as in a real cluster: each component has its own user, and RBAC and the node authorizer decide.

configure() {
  mkdir -p "$run"/{components,config,containerd,etcd,kubelet/volume-plugins,log,pid,pki,proc,var-log}
  chmod 700 "$run"
  ln -s "$(bin)" "$run/bin"
  certificates
  users
  network_plugin
  containerd_settings
  kubelet_settings
  write_components
}

# One key for all certificates: what they protect is gone with the cluster.
certificates() {
  local pki=$run/pki
  quietly openssl genrsa -out "$pki/ca.key" 2048
  certificate_authority ca lastcall-cluster
  certificate_authority front-proxy-ca front-proxy-ca
  certificate ca apiserver /CN=kube-apiserver \
    'subjectAltName=IP:10.99.0.1,IP:10.96.0.1,IP:127.0.0.1,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local'
  certificate ca kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client extendedKeyUsage=clientAuth
  certificate front-proxy-ca front-proxy-client /CN=front-proxy-client extendedKeyUsage=clientAuth
  # What service accounts' tokens are signed with.
  quietly openssl genrsa -out "$pki/accounts.key" 2048
  quietly openssl rsa -in "$pki/accounts.key" -pubout -out "$pki/accounts.pub"
}

certificate_authority() { # certificate_authority NAME COMMON_NAME
  [ -e "$run/pki/$1.key" ] || cp "$run/pki/ca.key" "$run/pki/$1.key"
  quietly openssl req -x509 -new -key "$run/pki/$1.key" -days 365 -subj "/CN=$2" -out "$run/pki/$1.crt"
}

certificate() { # certificate AUTHORITY NAME SUBJECT EXTENSION
  local pki=$run/pki
  cp "$pki/ca.key" "$pki/$2.key"
  quietly openssl req -new -key "$pki/$2.key" -subj "$3" -out "$pki/$2.csr"
  quietly openssl x509 -req -in "$pki/$2.csr" -CA "$pki/$1.crt" -CAkey "$pki/$1.key" -CAcreateserial \
    -days 365 -extfile <(printf '%s\n' "$4") -out "$pki/$2.crt"
}

# openssl reports what it does as if it were an error.
quietly() {
  local said
  said=$("$@" 2>&1) || fail "$*: $said"
}

users() {
  (
    umask 077
    : >"$run/pki/tokens.csv"
  )
  user admin system:masters "$kubeconfig"
  user system:kube-controller-manager '' "$run/config/kube-controller-manager"
  user system:kube-scheduler '' "$run/config/kube-scheduler"
  user system:kube-proxy '' "$run/config/kube-proxy"
  user system:node:node0 system:nodes "$run/config/kubelet"
}

user() { # user NAME GROUP KUBECONFIG
  local token
  token=$(openssl rand -hex 24)
  printf '%s,%s,%s,"%s"\n' "$token" "$1" "$1" "$2" >>"$run/pki/tokens.csv"
  cat >"$3" <<EOF
apiVersion: v1
kind: Config
clusters:
- name: lastcall
  cluster:
    server: https://10.99.0.1:6443
    certificate-authority-data: $(base64 -w0 "$run/pki/ca.crt")
users:
- name: $1
  user: {token: $token}
contexts:
- name: lastcall
  context: {cluster: lastcall, user: "$1"}
current-context: lastcall
EOF
  chmod 600 "$3"
}

network_plugin() {
  mkdir -p "$run/config/cni"
  cat >"$run/config/cni/10-bridge.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "lastcall", "plugins": [
  {"type": "bridge", "bridge": "pods", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$run/addresses",
            "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
EOF
}

# restrict_oom_score_adj: without CAP_SYS_RESOURCE no pod would start.
containerd_settings() {
  cat >"$run/config/containerd.toml" <<EOF
version = 2
root = "$run/containerd/root"
state = "$run/containerd/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "$containerd_socket"
[plugins."io.containerd.internal.v1.opt"]
path = "$run/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/lastcall/pause:1"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$run/config/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
EOF
}

# Images cannot be pulled again, so none is thrown away for want of space. A container that was killed starts again
# after a second, not after ten and more.
kubelet_settings() {
  printf '# Pods ask CoreDNS; nothing else is to be found.\nnameserver 10.96.0.10\n' >"$run/config/resolv.conf"
  cat >"$run/config/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $run/pki/ca.crt}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://$containerd_socket
cgroupDriver: cgroupfs
cgroupRoot: /$(control_group)
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
resolvConf: $run/config/resolv.conf
volumePluginDir: $run/kubelet/volume-plugins
crashLoopBackOff: {maxContainerRestartPeriod: 1s}
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}
nodeStatusUpdateFrequency: 5s
EOF
}
