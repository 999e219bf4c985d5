//! Where a client command asks: the rule, pure, and what it looks at. Docs: docs/cli.md, "Where they ask".

use std::path::{Path, PathBuf};

use clap::Args;

/// The variable that names the admin socket.
const SOCKET_VARIABLE: &str = "LASTCALL_ADMIN_SOCKET";
/// A pod's service account token, by which programs in a cluster ask its API server.
const ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Which cluster, and where lastcall is in it.
#[derive(Clone, Debug, Default, Args)]
pub struct ClusterOptions {
    /// Ask lastcall in a cluster: the kubeconfig file [default: KUBECONFIG, or ~/.kube/config]
    #[arg(long, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
    /// Ask lastcall in a cluster: the kubeconfig's context [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Ask lastcall in a cluster: the namespace it runs in [default: looked for in all namespaces,
    /// or lastcall where they may not be listed]
    #[arg(long, value_name = "NAME")]
    pub lastcall_namespace: Option<String>,
}

impl ClusterOptions {
    /// Why a cluster is asked by a command that asks nothing else.
    pub(super) fn because(&self) -> String {
        match self.given() {
            Some(option) => format!("as {option} says"),
            None => "as the kubeconfig says".to_owned(),
        }
    }

    /// The first of them that was given.
    fn given(&self) -> Option<&'static str> {
        if self.context.is_some() {
            Some("--context")
        } else if self.kubeconfig.is_some() {
            Some("--kubeconfig")
        } else if self.lastcall_namespace.is_some() {
            Some("--lastcall-namespace")
        } else {
            None
        }
    }
}

/// What there is around the command.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// `LASTCALL_ADMIN_SOCKET`.
    socket_variable: Option<PathBuf>,
    default_socket: PathBuf,
    /// There is something at the default place.
    socket_there: bool,
    /// Where a cluster is named, for messages.
    kubeconfig: Option<String>,
}

impl Surroundings {
    /// Looks at this process' environment.
    pub(super) fn look() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let default_socket = lastcall_hold::default_admin_socket();
        Self {
            socket_variable: variable(SOCKET_VARIABLE).map(PathBuf::from),
            // What may not be looked at is there: asking it says who may.
            socket_there: default_socket.try_exists().unwrap_or(true),
            kubeconfig: kubeconfig(
                variable("KUBECONFIG").is_some(),
                variable("HOME").as_deref().map(Path::new),
                Path::new(ACCOUNT_TOKEN),
            ),
            default_socket,
        }
    }
}

/// In the order in which the client of Kubernetes takes them.
fn kubeconfig(by_variable: bool, home: Option<&Path>, account: &Path) -> Option<String> {
    if by_variable {
        return Some("KUBECONFIG is set".to_owned());
    }
    if let Some(file) = home.map(|home| home.join(".kube/config"))
        && file.exists()
    {
        return Some(format!("{} is there", file.display()));
    }
    account
        .exists()
        .then(|| "this pod has a service account".to_owned())
}

/// Where to ask, and why there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// An admin socket.
    Socket { path: PathBuf, because: String },
    /// lastcall in a cluster.
    Cluster { because: String },
}

/// The rule. What the command line says comes first, then the variable, then an admin socket that is there,
/// then a cluster that is named.
pub(super) fn choose(
    admin_socket: Option<&Path>,
    cluster: &ClusterOptions,
    around: &Surroundings,
) -> Place {
    let socket = |path: &Path, because: &str| Place::Socket {
        path: path.to_owned(),
        because: because.to_owned(),
    };
    if let Some(path) = admin_socket {
        return socket(path, "as --admin-socket says");
    }
    if let Some(option) = cluster.given() {
        return Place::Cluster {
            because: format!("as {option} says"),
        };
    }
    if let Some(path) = &around.socket_variable {
        return socket(path, "as LASTCALL_ADMIN_SOCKET says");
    }
    let default = &around.default_socket;
    if around.socket_there {
        return socket(default, "the default place");
    }
    match &around.kubeconfig {
        Some(named) => Place::Cluster {
            because: format!(
                "there is no admin socket at {}, and {named}",
                default.display()
            ),
        },
        None => socket(
            default,
            "the default place; no cluster is named either, by KUBECONFIG or ~/.kube/config",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(variable: bool, there: bool, named: bool) -> Surroundings {
        Surroundings {
            socket_variable: variable.then(|| "/var/own.sock".into()),
            default_socket: "/run/default.sock".into(),
            socket_there: there,
            kubeconfig: named.then(|| "KUBECONFIG is set".to_owned()),
        }
    }

    #[test]
    fn the_command_line_comes_first_then_the_variable_then_what_is_there() {
        let none = ClusterOptions::default();
        let context = ClusterOptions {
            context: Some("prod".to_owned()),
            ..ClusterOptions::default()
        };
        let file = ClusterOptions {
            kubeconfig: Some("/k".into()),
            ..ClusterOptions::default()
        };
        let option = Some(Path::new("/opt/own.sock"));
        for (admin_socket, cluster, around, at, because) in [
            (
                option,
                &none,
                around(true, true, true),
                "/opt/own.sock",
                "--admin-socket",
            ),
            (
                None,
                &context,
                around(true, true, true),
                "cluster",
                "--context",
            ),
            (
                None,
                &file,
                around(true, true, false),
                "cluster",
                "--kubeconfig",
            ),
            (
                None,
                &none,
                around(true, true, true),
                "/var/own.sock",
                "LASTCALL_ADMIN_SOCKET",
            ),
            (
                None,
                &none,
                around(false, true, true),
                "/run/default.sock",
                "default place",
            ),
            (
                None,
                &none,
                around(false, false, true),
                "cluster",
                "no admin socket at /run/default.sock, and KUBECONFIG is set",
            ),
            (
                None,
                &none,
                around(false, false, false),
                "/run/default.sock",
                "no cluster is named",
            ),
        ] {
            let (seen, why) = match choose(admin_socket, cluster, &around) {
                Place::Socket { path, because } => (path.display().to_string(), because),
                Place::Cluster { because } => ("cluster".to_owned(), because),
            };
            assert_eq!(seen, at, "{why}");
            assert!(why.contains(because), "{why}");
        }
    }

    #[test]
    fn a_kubeconfig_is_named_by_the_variable_or_lies_at_home() {
        let home = tempfile::tempdir().unwrap();
        let token = home.path().join("token");
        assert!(
            kubeconfig(true, None, &token)
                .unwrap()
                .contains("KUBECONFIG")
        );
        assert_eq!(kubeconfig(false, Some(home.path()), &token), None);
        std::fs::write(&token, "").unwrap();
        let named = kubeconfig(false, Some(home.path()), &token).unwrap();
        assert!(named.contains("service account"), "{named}");
        std::fs::create_dir(home.path().join(".kube")).unwrap();
        std::fs::write(home.path().join(".kube/config"), "").unwrap();
        let named = kubeconfig(false, Some(home.path()), &token).unwrap();
        assert!(named.contains(".kube/config"), "{named}");
    }
}
