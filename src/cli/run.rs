//! `lastcall run`: its arguments; `app` runs it in a cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};

use super::Failure;
use super::standalone::{LogFormat, MetricsAddress, loopback};

/// What `--help` says last.
const AFTER_HELP: &str = "\
It runs in a pod of the cluster, as the chart installs it, or anywhere by KUBECONFIG. Each flag has the
same name in the chart's values. SIGTERM finishes what is in flight and ends.";

/// Arguments of `lastcall run`.
#[derive(Clone, Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Run {
    /// lastcall's own namespace
    #[arg(
        long,
        value_name = "NAME",
        env = "POD_NAMESPACE",
        default_value = "lastcall"
    )]
    pub namespace: String,
    /// The labels of lastcall's own pods: where the Services of LoadBalancers lead
    #[arg(long, value_name = "KEY=VALUE,…", default_value = "app.kubernetes.io/name=lastcall", value_parser = labels)]
    pub pod_selector: Labels,
    /// Watch this namespace only; may be repeated [default: all]
    #[arg(long, value_name = "NAME")]
    pub watch_namespace: Vec<String>,
    /// Whether Secrets with certificates are read; without them no TLS is served
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub read_secrets: bool,
    /// How pods ask to be held
    #[arg(long, value_name = "MODE", default_value = "exec")]
    pub hook_mode: HookMode,
    /// In exec mode: how lastcall-hold comes into pods
    #[arg(long, value_name = "DELIVERY", default_value = "init-container")]
    pub hook_delivery: HookDelivery,
    /// Change no pod, only report which are unprotected
    #[arg(long)]
    pub observe_only: bool,
    /// Image whose /lastcall-hold is brought into pods
    #[arg(long, value_name = "IMAGE", env = "LASTCALL_IMAGE")]
    pub image: String,
    /// Pull policy of that image [default: Kubernetes' own]
    #[arg(long, value_name = "POLICY")]
    pub image_pull_policy: Option<String>,
    /// Service that pods' hooks ask, in lastcall's namespace
    #[arg(long, value_name = "NAME", default_value = "lastcall-hook")]
    pub hook_service: String,
    /// Port of the hook server
    #[arg(long, value_name = "PORT", default_value_t = 8443, value_parser = port())]
    pub hook_port: u16,
    /// Service that the API server calls the webhooks by, in lastcall's namespace
    #[arg(long, value_name = "NAME", default_value = "lastcall-webhook")]
    pub webhook_service: String,
    /// Port of the webhooks
    #[arg(long, value_name = "PORT", default_value_t = 9443, value_parser = port())]
    pub webhook_port: u16,
    /// Name of the mutating and of the validating webhook configuration
    #[arg(long, value_name = "NAME", default_value = "lastcall")]
    pub webhook_configuration: String,
    /// Secret with lastcall's own certificate authority and certificate, in its namespace
    #[arg(long, value_name = "NAME", default_value = "lastcall-certificates")]
    pub certificate_secret: String,
    /// The most that a pod's grace period is raised to, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3900, value_parser = clap::value_parser!(u32).range(1..=90_000))]
    pub maximum_grace_seconds: u32,
    /// What a pod's stop may take while its node shuts down, seconds: shutdownGracePeriod of the kubelets
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub node_shutdown_grace_seconds: u32,
    /// Annotation that LoadBalancers may put on their Services, `*` at the end for any; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub allow_service_annotation: Vec<String>,
    /// Ports of the pod that listeners are given
    #[arg(long, value_name = "FIRST-LAST", default_value = "20000-20999", value_parser = ports)]
    pub data_ports: RangeInclusive<u16>,
    /// Worker threads [default: one a core]
    #[arg(long, value_name = "N")]
    pub workers: Option<NonZeroUsize>,
    /// After SIGTERM: how long to go on accepting while /readyz says no, for kube-proxy to hear of it
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = lastcall_hold::parse_duration)]
    pub shutdown_delay: Duration,
    /// After the delay: how long requests in flight may take before they are cut
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = lastcall_hold::parse_duration)]
    pub shutdown_timeout: Duration,
    /// Address of /metrics, /healthz and /readyz, or off
    #[arg(long, value_name = "IP:PORT|off", default_value = "0.0.0.0:9090")]
    pub metrics_address: MetricsAddress,
    /// Address of the admin API. Whoever can connect can drain: loopback addresses only, reached by
    /// kubectl port-forward
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9901", value_parser = loopback)]
    pub admin_address: SocketAddr,
    /// Form of the log lines on stderr
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// error, warn, info, debug, trace, or by module: `info,lastcall::drain=debug`
    #[arg(long, value_name = "LEVEL", env = "RUST_LOG", default_value = "info")]
    pub log_level: String,
}

/// Labels as a selector names them.
pub type Labels = BTreeMap<String, String>;

/// How pods ask to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HookMode {
    /// By lastcall-hold, which is brought into the pod
    Exec,
    /// By the kubelet: nothing is brought into the pod. Pod Security must not forbid hooks that name a host
    HttpGet,
}

/// How lastcall-hold comes into a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HookDelivery {
    /// An init container copies it into an emptyDir
    InitContainer,
    /// The image is mounted as a volume: Kubernetes 1.35 or newer, and a container runtime that can
    ImageVolume,
}

impl Run {
    /// Runs until told to stop.
    pub fn run(self) -> Result<(), Failure> {
        crate::app::cluster::run(&self).map_err(Failure::Other)
    }
}

fn port() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..)
}

fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = || "write FIRST-LAST, such as 20000-20999, two ports from 1024 to 65535".to_owned();
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let first: u16 = first.parse().map_err(|_| wrong())?;
    let last: u16 = last.parse().map_err(|_| wrong())?;
    // Below 1024 a process needs rights that it does not get.
    if first < 1024 || last < first {
        return Err(wrong());
    }
    Ok(first..=last)
}

fn labels(text: &str) -> Result<Labels, String> {
    text.split(',')
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(format!("{pair:?} is not KEY=VALUE")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn read(line: &str) -> Result<Run, clap::Error> {
        let line = format!("lastcall run --image i {line}");
        match Cli::try_parse_from(line.split_whitespace())?.command {
            Command::Run(run) => Ok(*run),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn modes_are_named_as_in_the_chart() {
        let run = read("").unwrap();
        assert_eq!(run.hook_mode, HookMode::Exec);
        assert_eq!(run.hook_delivery, HookDelivery::InitContainer);
        let run = read("--hook-mode http-get --hook-delivery image-volume").unwrap();
        assert_eq!(run.hook_mode, HookMode::HttpGet);
        assert_eq!(run.hook_delivery, HookDelivery::ImageVolume);
    }

    #[test]
    fn ports_and_labels_are_read_and_what_is_none_is_told_the_form() {
        let run = read("--data-ports 3000-3001 --pod-selector a=b,c/d=e").unwrap();
        assert_eq!(run.data_ports, 3000..=3001);
        assert_eq!(run.pod_selector["c/d"], "e");
        for wrong in [
            "--data-ports 80-90",
            "--data-ports 3000",
            "--data-ports 3001-3000",
            "--pod-selector a",
            "--hook-port 0",
            "--admin-address 0.0.0.0:9901",
            "--maximum-grace-seconds 0",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
