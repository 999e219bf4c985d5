//! The command line of `lastcall-hold`.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::duration::{DurationError, parse_duration};
use crate::pod::{HookService, Pod, Service};
use crate::wait::Options;

/// What `--help` prints.
pub const HELP: &str = "\
lastcall-hold: waits until nothing is in flight on a server, so that it can stop

Usage: lastcall-hold [OPTIONS] TARGET...
       lastcall-hold --pod --container NAME [OPTIONS]
       lastcall-hold install FOLDER SERVICE

  TARGET is be/NAME/ADDRESS:PORT (one endpoint of a Backend) or be/NAME (all of its endpoints).
  lastcall gives the targets no new requests from now on; this program ends when the last request
  in flight has finished, or at the deadline. Run it before the server gets SIGTERM.

Options:
      --admin-socket PATH  lastcall's admin socket [env: LASTCALL_ADMIN_SOCKET]
                           [default: $XDG_RUNTIME_DIR/lastcall/admin.sock; for root and
                           services /run/lastcall/admin.sock]
      --grace DURATION     the most that can be waited (30s, 2m): what the caller's own limit
                           allows, less the time the server needs to stop
                           [default: the Backend's drain timeout; 300s where nobody answers]
      --key KEY            who holds; asking again with the same key is the same hold
                           [default: the namespace and the targets]
      --restart            the server comes back: restartTimeoutSeconds is the drain timeout
  -n, --namespace NAME     the Backend's namespace [default: default]
  -o, --output FORMAT      text, or json: one line on stdout at the end [default: text]
  -q, --quiet              no progress on stderr; a warning is still printed when requests were
                           cut or lastcall could not be asked
      --pod                in a pod, as its preStop hook: asks the hook service; the pod's token says
                           what is held
      --container NAME     with --pod: the container whose hook this is
      --service-file PATH  with --pod: what names the hook service, where SERVICE is not given
                           [default: /.lastcall/service.json]
      --token PATH         with --pod: the pod's service account token
                           [default: /.lastcall-token/token]
  -h, --help               print this
  -V, --version            print the version

install copies this program into FOLDER, with a file that says where --pod asks: what the init
container does. SERVICE is --service NAME (lastcall-hook.lastcall.svc), --address its ClusterIP,
--port PORT, and --ca-pem its certificate authority; all four.

lastcall may crash or restart meanwhile: the hold is asked for again until it is released or its
deadline has come. Without any answer the deadline is --grace.

Exit codes:
  0  the server may stop: drained, lastcall is no longer installed, or the deadline came (with a warning: a hook that fails would
     not keep the server alive either, it would only turn a stop into a failure)
  1  lastcall refused for another reason than those below
  2  the command line is wrong, or there is no such target

Examples:
  lastcall-hold be/web/127.0.0.1:8081
  lastcall-hold --grace 80s --restart be/web/127.0.0.1:8081   # ExecStop= with TimeoutStopSec=90
  lastcall-hold -q -o json be/web/10.0.0.7:80 be/admin/10.0.0.7:81
";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
    /// Hold.
    Hold {
        /// How.
        options: Options,
        /// Print one JSON line at the end.
        json: bool,
        /// Print no progress.
        quiet: bool,
    },
    /// Copy the program into a pod's shared folder.
    Install {
        /// The folder.
        folder: PathBuf,
        /// What the hook has to know.
        service: HookService,
    },
}

/// The command line is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; lastcall-hold --help says more", self.0)
    }
}

impl std::error::Error for UsageError {}

impl From<DurationError> for UsageError {
    fn from(error: DurationError) -> Self {
        Self(format!("--grace: {error}"))
    }
}

/// Reads the command line without the program's name; `socket_env` is `LASTCALL_ADMIN_SOCKET`.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    socket_env: Option<OsString>,
) -> Result<Wish, UsageError> {
    let mut rest = arguments.into_iter().peekable();
    if rest.next_if(|first| first == "install").is_some() {
        return install(rest);
    }
    let mut options = Options::new(Vec::new());
    let mut pod = PodOptions::default();
    if let Some(socket) = socket_env.filter(|socket| !socket.is_empty()) {
        options.socket = PathBuf::from(socket);
    }
    let (mut json, mut quiet, mut only_targets) = (false, false, false);
    while let Some(argument) = rest.next() {
        let argument = text(argument)?;
        if only_targets || !argument.starts_with('-') {
            options.targets.push(argument);
            continue;
        }
        let (flag, mut given) = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        let mut value = || match given.take() {
            Some(value) => Ok(value),
            None => match rest.next() {
                Some(value) => text(value),
                None => Err(UsageError(format!("{flag} needs a value"))),
            },
        };
        match flag {
            "-h" | "--help" => return Ok(Wish::Help),
            "-V" | "--version" => return Ok(Wish::Version),
            "--" => only_targets = true,
            "--admin-socket" => options.socket = PathBuf::from(value()?),
            "--grace" => options.grace = Some(grace(&value()?)?),
            "--key" => options.key = Some(value()?),
            "-n" | "--namespace" => options.namespace = value()?,
            "-o" | "--output" => json = output_is_json(&value()?)?,
            "--restart" => options.restart = true,
            "-q" | "--quiet" => quiet = true,
            "--pod" => pod.wanted = true,
            "--container" => pod.container = Some(value()?),
            "--service-file" => pod.service = Some(PathBuf::from(value()?)),
            "--token" => pod.token = Some(PathBuf::from(value()?)),
            _ if pod.where_to_ask.take(flag, &mut value)? => {}
            _ => return Err(UsageError(format!("{flag} is no option"))),
        }
        if given.is_some() {
            return Err(UsageError(format!("{flag} takes no value")));
        }
    }
    match pod.read(&options)? {
        Some(pod) => options.pod = Some(pod),
        None => check_targets(&options.targets)?,
    }
    Ok(Wish::Hold {
        options,
        json,
        quiet,
    })
}

/// What goes with `--pod`.
#[derive(Default)]
struct PodOptions {
    wanted: bool,
    container: Option<String>,
    service: Option<PathBuf>,
    token: Option<PathBuf>,
    where_to_ask: ServiceOptions,
}

/// What names the hook service.
#[derive(Default)]
struct ServiceOptions {
    name: Option<String>,
    address: Option<IpAddr>,
    port: Option<u16>,
    ca: Option<String>,
}

impl ServiceOptions {
    /// Whether the flag is one of these; then its value is taken.
    fn take(
        &mut self,
        flag: &str,
        value: &mut impl FnMut() -> Result<String, UsageError>,
    ) -> Result<bool, UsageError> {
        match flag {
            "--service" => self.name = Some(value()?),
            "--address" => self.address = Some(parsed(flag, "an IP address", &value()?)?),
            "--port" => self.port = Some(parsed(flag, "a port, 1 to 65535", &value()?)?),
            "--ca-pem" => self.ca = Some(value()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The service where all of it was given, nothing where none was.
    fn read(self) -> Result<Option<HookService>, UsageError> {
        match (self.name, self.address, self.port, self.ca) {
            (None, None, None, None) => Ok(None),
            (Some(name), Some(address), Some(port), Some(ca)) => Ok(Some(HookService {
                name,
                address,
                port,
                ca,
            })),
            _ => Err(UsageError(
                "--service, --address, --port and --ca-pem go together".to_owned(),
            )),
        }
    }
}

impl PodOptions {
    /// The pod's hold, if it is one. What says whose hold it is elsewhere has no place beside it.
    fn read(self, options: &Options) -> Result<Option<Pod>, UsageError> {
        let refuse = |why: &str| Err(UsageError(why.to_owned()));
        let given = self.where_to_ask.read()?;
        if !self.wanted {
            return match (self.container, self.service, self.token, given) {
                (None, None, None, None) => Ok(None),
                _ => refuse("--container, --service-file, --service and --token go with --pod"),
            };
        }
        let named = !options.targets.is_empty() || options.key.is_some() || options.restart;
        if named || options.grace.is_some() {
            return refuse(
                "--pod takes no TARGET, --key, --restart or --grace: the pod's token and object say what is held, and how long",
            );
        }
        let Some(container) = self.container.filter(|name| !name.is_empty()) else {
            return refuse("--pod needs --container");
        };
        let mut pod = Pod::new(container);
        match (given, self.service) {
            (None, None) => {}
            (Some(given), None) => pod.service = Service::Given(given),
            (None, Some(file)) => pod.service = Service::File(file),
            (Some(_), Some(_)) => return refuse("--service or --service-file, not both"),
        }
        if let Some(token) = self.token {
            pod.token = token;
        }
        Ok(Some(pod))
    }
}

/// `install FOLDER` and the service, all of which is needed.
fn install(arguments: impl Iterator<Item = OsString>) -> Result<Wish, UsageError> {
    let mut folder = None;
    let mut service = ServiceOptions::default();
    let mut rest = arguments;
    while let Some(argument) = rest.next() {
        let argument = text(argument)?;
        let mut value = || match rest.next() {
            Some(value) => text(value),
            None => Err(UsageError(format!("{argument} needs a value"))),
        };
        if service.take(&argument, &mut value)? {
            continue;
        }
        if argument.starts_with('-') {
            return Err(UsageError(format!("{argument} is no option of install")));
        }
        if folder.replace(PathBuf::from(&argument)).is_some() {
            return Err(UsageError("more than one FOLDER".to_owned()));
        }
    }
    match (folder, service.read()?) {
        (Some(folder), Some(service)) => Ok(Wish::Install { folder, service }),
        _ => Err(UsageError(
            "install needs FOLDER, --service, --address, --port and --ca-pem".to_owned(),
        )),
    }
}

fn parsed<T: std::str::FromStr>(flag: &str, what: &str, value: &str) -> Result<T, UsageError> {
    value
        .parse()
        .map_err(|_| UsageError(format!("{flag}: {value:?} is not {what}")))
}

fn text(argument: OsString) -> Result<String, UsageError> {
    argument
        .into_string()
        .map_err(|raw| UsageError(format!("{} is not UTF-8", raw.display())))
}

fn grace(text: &str) -> Result<std::time::Duration, UsageError> {
    let grace = parse_duration(text)?;
    if grace.is_zero() {
        return Err(UsageError(
            "--grace is zero: nothing could be waited for".to_owned(),
        ));
    }
    Ok(grace)
}

fn output_is_json(format: &str) -> Result<bool, UsageError> {
    match format {
        "json" => Ok(true),
        "text" => Ok(false),
        other => Err(UsageError(format!(
            "--output is text or json, not {other:?}"
        ))),
    }
}

fn check_targets(targets: &[String]) -> Result<(), UsageError> {
    if targets.is_empty() {
        return Err(UsageError(
            "no TARGET: such as be/web/127.0.0.1:8081".to_owned(),
        ));
    }
    // lastcall reads them in full; here only what would be a slip of the hand.
    match targets.iter().find(|target| !target.contains('/')) {
        Some(target) => Err(UsageError(format!(
            "{target:?} is not be/NAME or be/NAME/ADDRESS:PORT"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::time::Duration;

    fn read(line: &str) -> Result<Wish, UsageError> {
        parse(line.split_whitespace().map(OsString::from), None)
    }

    #[test]
    fn every_option_arrives_where_it_belongs() {
        let wish = read(
            "--admin-socket /s --grace=30s be/a/1.2.3.4:5 --key k --restart -n shop -o json -q -- be/b",
        );
        let Ok(Wish::Hold {
            options,
            json,
            quiet,
        }) = wish
        else {
            panic!("{wish:?}")
        };
        assert!(json && quiet && options.restart);
        assert_eq!(options.socket, Path::new("/s"));
        assert_eq!(options.grace, Some(Duration::from_secs(30)));
        assert_eq!(options.key.as_deref(), Some("k"));
        assert_eq!(options.namespace, "shop");
        assert_eq!(options.targets, ["be/a/1.2.3.4:5", "be/b"]);
    }

    #[test]
    fn the_environment_names_the_socket_and_the_option_wins() {
        let socket = |line: &str| match parse(
            line.split_whitespace().map(OsString::from),
            Some("/env".into()),
        ) {
            Ok(Wish::Hold { options, .. }) => options.socket,
            other => panic!("{other:?}"),
        };
        assert_eq!(socket("be/a"), Path::new("/env"));
        assert_eq!(socket("be/a --admin-socket /own"), Path::new("/own"));
    }

    #[test]
    fn a_wrong_line_is_refused_with_what_is_wrong() {
        for (line, says) in [
            ("", "no TARGET"),
            ("web", "be/NAME"),
            ("--grace", "--grace needs a value"),
            ("--grace x be/a", "--grace: \"x\" is not a duration"),
            ("--grace 0 be/a", "zero"),
            ("--frobnicate be/a", "--frobnicate is no option"),
            ("--restart=yes be/a", "--restart takes no value"),
            ("-o yaml be/a", "text or json"),
            ("--pod", "--pod needs --container"),
            ("--pod --container app be/a", "takes no TARGET"),
            ("--pod --container app --grace 3s", "--grace"),
            ("--container app be/a", "go with --pod"),
            ("install", "install needs FOLDER"),
            ("install /f --port x", "--port: \"x\" is not a port"),
            ("install /f --port 0x", "is not a port"),
            ("install /f --port 1", "go together"),
            ("--pod --container app --port 1", "go together"),
            ("install /f /g", "more than one FOLDER"),
            ("install --grace", "--grace is no option of install"),
        ] {
            let error = read(line).unwrap_err().to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
        assert_eq!(read("--help"), Ok(Wish::Help));
        assert_eq!(read("-V"), Ok(Wish::Version));
    }

    #[test]
    fn a_pods_hook_and_its_init_container_are_read() {
        let Ok(Wish::Hold { options, .. }) = read("--pod --container app --token /t") else {
            panic!()
        };
        let pod = options.pod.unwrap();
        assert_eq!(pod.container, "app");
        let file = PathBuf::from("/.lastcall/service.json");
        assert_eq!(pod.service, Service::File(file));
        assert_eq!(pod.token, Path::new("/t"));
        let line = "install /f --service lastcall-hook.lastcall.svc --address 10.96.0.7 --port 8443 --ca-pem PEM";
        let Ok(Wish::Install { folder, service }) = read(line) else {
            panic!()
        };
        assert_eq!(folder, Path::new("/f"));
        assert_eq!((service.port, service.ca.as_str()), (8443, "PEM"));
        let line = line.replace("install /f", "--pod --container app");
        let Ok(Wish::Hold { options, .. }) = read(&line) else {
            panic!()
        };
        assert_eq!(options.pod.unwrap().service, Service::Given(service));
    }

    #[test]
    fn the_help_names_every_option() {
        for option in [
            "--pod",
            "--container",
            "--service-file",
            "--service",
            "--address",
            "--port",
            "--ca-pem",
            "--token",
            "install FOLDER",
            "--admin-socket",
            "--grace",
            "--key",
            "--restart",
            "--namespace",
            "--output",
            "--quiet",
            "--help",
            "--version",
        ] {
            assert!(HELP.contains(option), "{option}");
        }
    }
}
