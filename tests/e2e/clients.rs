//! The commands of `lastcall` against lastcall in the cluster, by `KUBECONFIG`, as a user with no more rights than
//! docs/install.md lists for them: `edit` in the app's namespace, and the chart's role for clients in lastcall's.

use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::app::App;
use crate::cluster::{LIMIT, Namespace, object, text, wait_until};
use crate::command::run;
use crate::installation::{Mode, RELEASE, alone, shared};
use crate::objects::Wanted;

/// Somebody who uses the cluster.
pub struct User {
    folder: TempDir,
}

impl User {
    /// With the `ClusterRole` in that namespace, and where `client`, with the chart's role for clients in lastcall's.
    #[track_caller]
    pub fn new(space: &Namespace, name: &str, role: &str, client: bool) -> Self {
        space.kubectl(&["create", "serviceaccount", name]);
        let account = format!("--serviceaccount={}:{name}", space.name);
        let cluster_role = format!("--clusterrole={role}");
        space.kubectl(&["create", "rolebinding", name, &cluster_role, &account]);
        if client {
            let binding = format!("{}-{name}", space.name);
            let role = "--role=lastcall-client";
            let create = ["create", "rolebinding", &binding, role, &account];
            run(
                "kubectl",
                &[&["--namespace", RELEASE], &create[..]].concat(),
            );
        }
        let token = space.kubectl(&["create", "token", name]);
        let user = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        std::fs::write(user.kubeconfig(), kubeconfig(token.trim(), &space.name)).unwrap();
        user
    }

    fn kubeconfig(&self) -> String {
        self.folder.path().join("config").display().to_string()
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastcall"));
        command
            .args(line.split_whitespace())
            .env("KUBECONFIG", self.kubeconfig())
            .env_remove("LASTCALL_ADMIN_SOCKET")
            .stdin(Stdio::null());
        command
    }

    /// `lastcall …` to its end.
    pub fn lastcall(&self, line: &str) -> Done {
        Done::of(line, self.command(line).output().unwrap())
    }

    /// `lastcall …`, which goes on.
    pub fn begin(&self, line: &str) -> Child {
        let mut command = self.command(line);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Done {
    line: String,
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub out: String,
    /// What it said besides.
    pub said: String,
}

impl Done {
    /// How that ended.
    pub fn of(line: &str, output: Output) -> Self {
        Self {
            line: line.to_owned(),
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            said: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It ended with this code; what it printed.
    #[track_caller]
    pub fn with(&self, code: i32) -> &str {
        assert_eq!(
            self.code, code,
            "lastcall {}\n{}{}",
            self.line, self.said, self.out
        );
        &self.out
    }

    /// The JSON that it printed.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It said this.
    #[track_caller]
    pub fn saying(&self, part: &str) -> &Self {
        assert!(self.said.contains(part), "{part} is not in {}", self.said);
        self
    }
}

/// That of this machine's user, with another's token and this namespace.
fn kubeconfig(token: &str, namespace: &str) -> String {
    let own = run(
        "kubectl",
        &[
            "config",
            "view",
            "--raw",
            "--minify",
            "--flatten",
            "-o",
            "json",
        ],
    );
    let mut config: Value = serde_json::from_str(&own).unwrap();
    config["users"] = json!([{"name": "user", "user": {"token": token}}]);
    config["contexts"][0]["context"]["user"] = json!("user");
    config["contexts"][0]["context"]["namespace"] = json!(namespace);
    config.to_string()
}

/// The annotation by which one pod is taken out of service.
#[track_caller]
pub fn admin_state(space: &Namespace, pod: &str) -> String {
    let pod = object(&space.name, &["pod", pod]).unwrap_or_else(|error| panic!("{error}"));
    text(&pod, "/metadata/annotations/lastcall.dev~1admin-state").to_owned()
}

#[test]
fn an_endpoint_is_drained_and_enabled_by_kubeconfig_without_a_lost_request() {
    let lastcall = shared(Mode::Exec);
    let app = App::deploy(&lastcall, "clients", &Wanted::default());
    let user = User::new(&app.space, "ann", "edit", true);
    let load = app.load();

    let status = user.lastcall("status be/app -o json");
    status.with(0);
    let first = &status.json()["endpoints"][0];
    let (address, pod) = (text(first, "/address"), text(first, "/pod"));
    let table = user.lastcall("status");
    assert!(table.with(0).contains(address), "{table:?}");

    let drained = user.lastcall(&format!("drain --wait be/app/{address} -o json"));
    drained.with(0);
    let (waited, state) = (&drained.json()["waited"], &drained.json()["state"]);
    assert_eq!(
        (state, &waited["reached"], &waited["cut"]),
        (&json!("Draining"), &json!(true), &json!(0))
    );
    assert_eq!(admin_state(&app.space, pod), "Draining");
    let seen = user.lastcall(&format!("status be/app/{address} -o json"));
    seen.with(0);
    assert_eq!(text(&seen.json(), "/endpoints/0/state"), "OutOfService");
    assert_eq!(
        text(&seen.json(), "/endpoints/0/reason"),
        "AdminStateDraining"
    );
    user.lastcall("wait be/app --for=in-service --timeout 1s")
        .with(3);

    user.lastcall(&format!("enable be/app/{address}")).with(0);
    user.lastcall("wait be/app --for=in-service --timeout 60s")
        .with(0);
    assert_eq!(admin_state(&app.space, pod), "");
    load.wait_for_more(40);
    load.end().nothing_failed();

    // The whole Backend, when nobody asks it.
    user.lastcall("drain --wait be/app").with(0);
    let spec = |pointer| {
        text(
            &object(&app.space.name, &["backend", "app"]).unwrap(),
            pointer,
        )
        .to_owned()
    };
    assert_eq!(spec("/spec/adminState"), "Draining");
    let refused = user.lastcall(&format!("enable be/app/{address}"));
    refused.with(1);
    refused.saying("lastcall enable be/app");
    user.lastcall("disable be/app").with(0);
    assert_eq!(spec("/spec/adminState"), "Disabled");
    user.lastcall("enable be/app").with(0);
    user.lastcall("wait be/app --for=in-service --timeout 60s")
        .with(0);
}

/// What the process alone knew would be forgotten here.
#[test]
fn a_drain_outlives_the_lastcall_that_was_asked() {
    let lastcall = alone(Mode::Exec);
    let wanted = Wanted {
        replicas: 2,
        ..Wanted::default()
    };
    let app = App::deploy(&lastcall, "outlives", &wanted);
    let user = User::new(&app.space, "ann", "edit", true);
    let status = user.lastcall("status be/app -o json");
    status.with(0);
    let address = text(&status.json(), "/endpoints/0/address").to_owned();
    user.lastcall(&format!("drain --wait be/app/{address}"))
        .with(0);
    let restart = ["rollout", "restart", "deployment/lastcall"];
    let restarted = ["rollout", "status", "deployment/lastcall", "--timeout=120s"];
    for arguments in [&restart[..], &restarted] {
        run("kubectl", &[&["--namespace", RELEASE], arguments].concat());
    }
    // The old one is on its way out, the new one is asked.
    user.lastcall(&format!(
        "wait be/app/{address} --for=drained --timeout 60s"
    ))
    .with(0);
    let seen = user.lastcall(&format!("status be/app/{address} -o json"));
    seen.with(0);
    assert_eq!(
        text(&seen.json(), "/endpoints/0/reason"),
        "AdminStateDraining"
    );
    // Others want one replica, not one that is leaving beside it.
    wait_until("one replica of lastcall", LIMIT, || {
        let pods = lastcall.pods();
        (pods.len() == 1).then_some(()).ok_or(pods.len())
    });
}

#[test]
fn what_cannot_be_done_in_a_cluster_is_refused_with_its_reason() {
    let lastcall = shared(Mode::Exec);
    let wanted = Wanted {
        replicas: 1,
        ..Wanted::default()
    };
    let app = App::deploy(&lastcall, "refused", &wanted);
    let user = User::new(&app.space, "ann", "edit", true);
    user.lastcall("drain --timeout 5s be/app")
        .saying("timeoutSeconds")
        .with(2);
    user.lastcall("drain be/none")
        .saying("there are: app")
        .with(2);
    user.lastcall("status be/none").saying("no Backend").with(2);
    user.lastcall("drain be/app/192.0.2.1:8080").with(2);
    user.lastcall("status --admin-socket /nowhere/admin.sock")
        .saying("as --admin-socket says")
        .with(4);

    // A static endpoint's state stands beside its address, and needs no rights in lastcall's namespace.
    app.space.apply(
        "apiVersion: lastcall.dev/v1alpha1\nkind: Backend\nmetadata: {name: fixed}\n\
         spec: {static: [{address: 192.0.2.7, port: 80}, {address: 192.0.2.8, port: 80}]}\n",
    );
    let editor = User::new(&app.space, "bob", "edit", false);
    editor.lastcall("drain be/fixed/192.0.2.8:80").with(0);
    let fixed = object(&app.space.name, &["backend", "fixed"]).unwrap();
    assert_eq!(text(&fixed, "/spec/static/0/adminState"), "Enabled");
    assert_eq!(text(&fixed, "/spec/static/1/adminState"), "Draining");
    let pod = app.staying().remove(0);
    let address = wait_until("the endpoint in status", LIMIT, || {
        let backend = object(&app.space.name, &["backend", "app"])?;
        let address = text(&backend, "/status/endpoints/0/address").to_owned();
        (!address.is_empty())
            .then_some(address)
            .ok_or_else(|| backend.to_string())
    });
    editor
        .lastcall(&format!("disable be/app/{address}"))
        .with(0);
    assert_eq!(admin_state(&app.space, &pod), "Disabled");
    editor
        .lastcall("status")
        .saying("not allowed to list pods in namespace lastcall")
        .with(4);

    let viewer = User::new(&app.space, "eve", "view", true);
    viewer.lastcall("status be/app").with(0);
    viewer
        .lastcall("drain be/app")
        .saying("not allowed to patch backends in namespace")
        .with(4);
    viewer
        .lastcall(&format!("enable be/app/{address}"))
        .saying("not allowed to patch pods in namespace")
        .with(4);
}
