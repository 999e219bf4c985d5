//! One truth: `deploy/` is what the chart gives, and the chart's CustomResourceDefinitions are those of `crds/`.

use std::fmt::Write;
use std::fs;

use crate::command::{attempt, run, tree};
use crate::installation::{Mode, shared};

/// Set to write the files in place of comparing them.
const WRITE: &str = "LASTCALL_WRITE_MANIFESTS";

/// Files of the tree and what they shall be.
fn expected() -> Vec<(String, String)> {
    let mut files = vec![("deploy/lastcall.yaml".to_owned(), rendered())];
    for name in ["backends.yaml", "loadbalancers.yaml"] {
        let text = fs::read_to_string(tree("crds").join(name)).unwrap();
        for folder in ["charts/lastcall/crds", "deploy/crds"] {
            files.push((format!("{folder}/{name}"), text.clone()));
        }
    }
    files
}

/// The chart with the values as they are, without what only Helm wants to know.
fn rendered() -> String {
    let arguments = [
        "template",
        "lastcall",
        "charts/lastcall",
        "--namespace",
        "lastcall",
    ];
    let mut text = String::from(
        "# Made from charts/lastcall: LASTCALL_WRITE_MANIFESTS=1 cargo test --test e2e manifests\n",
    );
    for line in run("helm", &arguments).lines() {
        let only_helms = [
            "# Source: ",
            "helm.sh/chart: ",
            "app.kubernetes.io/managed-by: ",
        ];
        if !only_helms
            .iter()
            .any(|start| line.trim_start().starts_with(start))
        {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

#[test]
fn deploy_and_the_charts_crds_are_made_from_one_source() {
    let write = std::env::var_os(WRITE).is_some();
    for (path, expected) in expected() {
        if write {
            fs::write(tree(&path), &expected).unwrap();
        }
        let written = fs::read_to_string(tree(&path)).unwrap_or_default();
        assert!(
            written == expected,
            "{path} is not what it is made from. Write it anew with\n    {WRITE}=1 cargo test --test e2e manifests\nand commit it."
        );
    }
}

/// kustomize puts them together as they stand.
#[test]
fn the_kustomization_has_everything() {
    let text = run("kubectl", &["kustomize", "deploy"]);
    for kind in [
        "Namespace",
        "CustomResourceDefinition",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
        "Service",
        "Deployment",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    ] {
        assert!(text.contains(&format!("\nkind: {kind}\n")), "{kind}");
    }
}

/// What the chart refuses, and how it says so.
#[test]
fn values_that_cannot_be_are_refused_by_name() {
    for (value, said) in [
        ("replicaCount=2", "replicaCount"),
        ("hookMode=http", "hookMode"),
        ("hookDelivery=volume", "hookDelivery"),
        ("shutdownDelay=1.5s", "duration"),
    ] {
        let arguments = ["template", "lastcall", "charts/lastcall", "--set", value];
        let error = attempt("helm", &arguments, "").unwrap_err();
        assert!(error.contains(said), "{value}: {error}");
    }
}

/// A right cannot be limited to a type of Secrets; who does not want it given away need not.
#[test]
fn secrets_are_listed_only_where_the_values_say_so() {
    let listing = "  resources: [secrets]\n  verbs: [list, watch]\n";
    for (read, right) in [("true", true), ("false", false)] {
        let set = format!("readSecrets={read}");
        let arguments = ["template", "lastcall", "charts/lastcall", "--set", &set];
        let text = run("helm", &arguments);
        assert_eq!(text.contains(listing), right, "{set}");
        assert_eq!(text.contains("- --read-secrets=false\n"), !right, "{set}");
    }
}

/// Pods of `HTTPGet` mode have the address of the hook's Service in them, whatever becomes of lastcall.
#[test]
fn the_hooks_service_is_kept_where_pods_have_its_address() {
    for (mode, kept) in [("exec", false), ("http-get", true)] {
        let set = format!("hookMode={mode}");
        let only = ["--show-only", "templates/services.yaml", "--set", &set];
        let arguments = [&["template", "lastcall", "charts/lastcall"][..], &only].concat();
        let text = run("helm", &arguments);
        let hook = text
            .split("\n---\n")
            .find(|one| one.contains("name: lastcall-hook\n"));
        let hook = hook.expect("the hook's Service");
        assert_eq!(
            hook.contains("helm.sh/resource-policy: keep"),
            kept,
            "{hook}"
        );
        for always in ["publishNotReadyAddresses: true", "sessionAffinity: None"] {
            assert!(hook.contains(always), "{hook}");
        }
    }
}

/// What lastcall may not do: the rights that would make it worth taking over.
#[test]
fn lastcall_may_not_change_pods_and_writes_no_secret_but_its_own() {
    let lastcall = shared(Mode::Exec);
    let account = format!("--as=system:serviceaccount:{}:lastcall", lastcall.namespace);
    let can = |what: &[&str]| {
        let arguments = [&["auth", "can-i", account.as_str()], what].concat();
        let said = attempt("kubectl", &arguments, "").unwrap_or_else(|error| error);
        said.lines().last() == Some("yes")
    };
    let own = [
        "get",
        "secret/lastcall-certificates",
        "--namespace",
        "lastcall",
    ];
    assert!(can(&own) && can(&["list", "pods", "--all-namespaces"]));
    for denied in [
        &["patch", "secret/another", "--namespace", "lastcall"][..],
        &["create", "secrets", "--namespace", "default"],
        &["update", "secrets", "--namespace", "default"],
        &["delete", "secrets", "--namespace", "default"],
        &["delete", "pods", "--namespace", "default"],
        &["create", "pods/eviction", "--namespace", "default"],
        &["patch", "pods", "--namespace", "default"],
        &["create", "services", "--namespace", "default"],
        &["patch", "mutatingwebhookconfigurations/another"],
    ] {
        assert!(!can(denied), "{denied:?}");
    }
}
