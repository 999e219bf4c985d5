//! The YAML that the tests apply: an app, and what makes lastcall serve it.

use std::fmt::Write;

/// An app as a test wants it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Pods.
    pub replicas: u32,
    /// The app's own `terminationGracePeriodSeconds`.
    pub grace: u32,
    /// The Backend's drain timeout, seconds.
    pub drain: u32,
    /// Labels of the pods besides `app`, as YAML in braces without them.
    pub pod_labels: String,
    /// Fields of the pod's spec, each line indented by 6.
    pub pod_spec: String,
    /// Fields of the app's container, each line indented by 8.
    pub container: String,
    /// Further containers, each line indented by 6.
    pub containers: String,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            replicas: 4,
            grace: 30,
            drain: 60,
            pod_labels: String::new(),
            pod_spec: String::new(),
            container: String::new(),
            containers: String::new(),
        }
    }
}

/// How pods of an app are made.
pub struct Made<'a> {
    /// The image.
    pub image: &'a str,
    /// Its imagePullPolicy.
    pub pull: &'a str,
    /// Where the record goes.
    pub record: &'a str,
}

/// The LoadBalancer and the Backend, both called `app`.
pub fn balancing(wanted: &Wanted) -> String {
    let drain = wanted.drain;
    format!(
        r"apiVersion: lastcall.dev/v1alpha1
kind: Backend
metadata: {{name: app}}
spec:
  service: {{name: app, port: http}}
  connectionDraining: {{timeoutSeconds: {drain}}}
---
apiVersion: lastcall.dev/v1alpha1
kind: LoadBalancer
metadata: {{name: app}}
spec:
  listeners: [{{name: http, port: 80, protocol: HTTP}}]
  defaultBackend: {{name: app}}
  service: {{type: ClusterIP}}
"
    )
}

/// The app's Service.
pub fn service() -> &'static str {
    r"apiVersion: v1
kind: Service
metadata: {name: app}
spec:
  selector: {app: app}
  ports: [{name: http, port: 80, targetPort: http}]
"
}

/// The app's Deployment.
pub fn deployment(wanted: &Wanted, made: &Made) -> String {
    let Wanted { replicas, .. } = wanted;
    let template = template(wanted, made);
    format!(
        r"apiVersion: apps/v1
kind: Deployment
metadata: {{name: app}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: app}}}}
  template:
{template}"
    )
}

/// The app as a `StatefulSet`.
pub fn stateful_set(wanted: &Wanted, made: &Made) -> String {
    let Wanted { replicas, .. } = wanted;
    let template = template(wanted, made);
    format!(
        r"apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: app}}
spec:
  serviceName: app
  replicas: {replicas}
  selector: {{matchLabels: {{app: app}}}}
  template:
{template}"
    )
}

/// The pod's template, indented by 4. It passes `PodSecurity` restricted.
pub fn template(wanted: &Wanted, made: &Made) -> String {
    let Wanted {
        grace,
        pod_labels,
        pod_spec,
        container,
        containers,
        ..
    } = wanted;
    let Made {
        image,
        pull,
        record,
    } = made;
    let mut text = format!(
        r"    metadata: {{labels: {{app: app{}{pod_labels}}}}}
    spec:
      terminationGracePeriodSeconds: {grace}
      automountServiceAccountToken: false
      securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}
{pod_spec}      containers:
      - name: app
        image: {image}
        imagePullPolicy: {pull}
        args: [demo-backend, --listen=0.0.0.0:8080, '--record={record}', --name=$(POD_NAME)/$(POD_UID)]
        env:
        - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
        - {{name: POD_UID, valueFrom: {{fieldRef: {{fieldPath: metadata.uid}}}}}}
        ports: [{{name: http, containerPort: 8080}}]
        readinessProbe: {{tcpSocket: {{port: http}}, periodSeconds: 1}}
        securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
",
        if pod_labels.is_empty() { "" } else { ", " }
    );
    let _ = write!(text, "{container}{containers}");
    text
}
