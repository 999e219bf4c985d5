//! `lastcall standalone`: its arguments; `app` runs it.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::Failure;

/// What `--help` says last.
const AFTER_HELP: &str = "\
The folder holds LoadBalancer and Backend objects in *.yaml files, several to a file if you like. It is
watched: a change is taken into service without losing a request, a bad one is refused and the last
good one goes on. SIGHUP reads it anew, SIGTERM finishes what is in flight and ends.

Examples:
  lastcall standalone --config /etc/lastcall
  lastcall standalone --config . --check
  lastcall standalone --config . --listen-address 127.0.0.1 --log-level debug";

/// Arguments of `lastcall standalone`.
#[derive(Clone, Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Standalone {
    /// Folder of YAML files
    #[arg(long, value_name = "DIR")]
    pub config: PathBuf,
    /// Check the folder, print what is wrong, and exit
    #[arg(long)]
    pub check: bool,
    /// IP address that all listeners bind [default: all addresses, IPv4 and IPv6]
    #[arg(long, value_name = "IP")]
    pub listen_address: Option<IpAddr>,
    /// Worker threads [default: one a core]
    #[arg(long, value_name = "N")]
    pub workers: Option<NonZeroUsize>,
    /// Unix socket of the admin API, readable by this user only
    #[arg(long, value_name = "PATH", env = "LASTCALL_ADMIN_SOCKET",
        default_value_os_t = lastcall_hold::default_admin_socket())]
    pub admin_socket: PathBuf,
    /// Serve the admin API on this TCP address too. Whoever can connect can drain: loopback
    /// addresses only
    #[arg(long, value_name = "IP:PORT", value_parser = loopback)]
    pub admin_address: Option<SocketAddr>,
    /// Address of /metrics, /healthz and /readyz, or off
    #[arg(long, value_name = "IP:PORT|off", default_value = "127.0.0.1:9902")]
    pub metrics_address: MetricsAddress,
    /// After SIGTERM: how long to go on accepting while /readyz says no, for balancers in front
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = lastcall_hold::parse_duration)]
    pub shutdown_delay: Duration,
    /// After the delay: how long requests in flight may take before they are cut
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = lastcall_hold::parse_duration)]
    pub shutdown_timeout: Duration,
    /// Form of the log lines on stderr
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// error, warn, info, debug, trace, or by module: `info,lastcall::drain=debug`
    #[arg(long, value_name = "LEVEL", env = "RUST_LOG", default_value = "info")]
    pub log_level: String,
}

/// Where metrics are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsAddress {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(MetricsAddress::Off);
        }
        text.parse()
            .map(MetricsAddress::At)
            .map_err(|_| "write IP:PORT (127.0.0.1:9902, [::]:9902) or off".to_owned())
    }
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// For programs: one JSON object a line
    Json,
}

impl Standalone {
    /// Runs until told to stop, or checks the folder.
    pub fn run(self) -> Result<(), Failure> {
        crate::app::standalone(&self).map_err(Failure::Other)
    }
}

pub(super) fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| "write IP:PORT, such as 127.0.0.1:9901".to_owned())?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(
            "the admin API knows no users: a loopback address only; reach it from elsewhere \
             through ssh -L or the Unix socket"
                .to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn read(line: &str) -> Result<Standalone, clap::Error> {
        let line = format!("lastcall standalone {line}");
        match Cli::try_parse_from(line.split_whitespace())?.command {
            Command::Standalone(standalone) => Ok(standalone),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_are_read_and_the_admin_api_stays_on_this_machine() {
        let metrics = |line: &str| read(line).unwrap().metrics_address;
        assert_eq!(
            metrics("--config . --metrics-address off"),
            MetricsAddress::Off
        );
        assert_eq!(
            metrics("--config . --metrics-address [::]:1"),
            MetricsAddress::At("[::]:1".parse().unwrap())
        );
        assert!(read("--config . --metrics-address 9902").is_err());
        assert!(read("--config . --admin-address [::1]:9901").is_ok());
        let error = read("--config . --admin-address 0.0.0.0:9901")
            .unwrap_err()
            .to_string();
        assert!(error.contains("loopback"), "{error}");
        assert!(read("--config . --workers 0").is_err());
        assert!(read("").is_err(), "--config is needed");
    }
}
