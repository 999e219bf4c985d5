//! The hold itself: asks, listens, asks again, until released or until its own deadline.

use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::ask::{self, Ask, Reply};
use crate::deadline::Deadline;
use crate::pod::Pod;
use crate::progress::{Outcome, Progress};
use crate::socket::default_admin_socket;
use crate::wire::{HoldAsk, HoldLine, default_namespace};

/// What to hold for, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// lastcall's admin socket.
    pub socket: PathBuf,
    /// `be/NAME` or `be/NAME/ADDRESS:PORT`, at least one.
    pub targets: Vec<String>,
    /// The targets' namespace.
    pub namespace: String,
    /// Who holds; the namespace and the targets where absent. Asking twice with one key is one hold.
    pub key: Option<String>,
    /// What the caller can wait at most; the Backends' drain timeouts where absent.
    pub grace: Option<Duration>,
    /// The server comes back: the shorter `restartTimeoutSeconds` counts.
    pub restart: bool,
    /// A connection on which nothing is heard for so long is taken as lost. lastcall sends a heartbeat
    /// every 3 s.
    pub silence: Duration,
    /// This runs in a pod: the hook service is asked in place of the socket, and the pod's token says what is
    /// held.
    pub pod: Option<Pod>,
    /// The first pause before asking again, and the longest; it doubles in between.
    pub pauses: (Duration, Duration),
}

impl Options {
    /// A hold for `targets` with the defaults of the command line.
    pub fn new(targets: Vec<String>) -> Self {
        Self {
            socket: default_admin_socket(),
            targets,
            namespace: default_namespace(),
            key: None,
            grace: None,
            restart: false,
            silence: Duration::from_secs(10),
            pod: None,
            pauses: (Duration::from_millis(50), Duration::from_secs(1)),
        }
    }

    /// Names of Backends are unique in their namespace only.
    fn default_key(&self) -> String {
        format!("{}: {}", self.namespace, self.targets.join(" "))
    }

    /// A hold of the pod that this runs in.
    pub fn in_pod(pod: Pod) -> Self {
        Self {
            pod: Some(pod),
            ..Self::new(Vec::new())
        }
    }

    fn request(&self, grace: Option<Duration>) -> Ask {
        if let Some(pod) = &self.pod {
            // How long its pod lives is known there better than here.
            return Ask::Pod(pod.clone());
        }
        let ask = HoldAsk {
            key: self.key.clone().unwrap_or_else(|| self.default_key()),
            targets: self.targets.clone(),
            namespace: self.namespace.clone(),
            grace_seconds: grace.map(|grace| grace.as_secs_f64()),
            restart: self.restart,
        };
        Ask::Socket(self.socket.clone(), ask)
    }
}

/// Blocks until the hold is released, the deadline has come, or lastcall refuses the request. `out`
/// hears what happens on the way.
pub fn run(options: &Options, out: &mut dyn FnMut(&Progress)) -> Outcome {
    let start = Instant::now();
    let mut hold = Hold {
        options,
        out,
        start,
        deadline: Deadline::new(start, options.grace),
        held: false,
        pause: options.pauses.0,
        last: None,
        gone_since: None,
    };
    loop {
        let why = match hold.call() {
            Ok(outcome) => return outcome,
            Err(why) => why,
        };
        if let Some(outcome) = hold.rest(why) {
            return outcome;
        }
    }
}

struct Hold<'a> {
    options: &'a Options,
    out: &'a mut dyn FnMut(&Progress),
    start: Instant,
    deadline: Deadline,
    /// lastcall has said "holding" once: from then on only a release or the deadline ends it.
    held: bool,
    pause: Duration,
    last: Option<Progress>,
    /// Since when the hook service is not there any more.
    gone_since: Option<Instant>,
}

/// How long the hook service has to be gone: an upgrade may make it anew.
const GONE_FOR: Duration = Duration::from_secs(5);

impl Hold<'_> {
    /// One call; Err says why it brought no outcome.
    fn call(&mut self) -> Result<Outcome, String> {
        let grace = self.deadline.grace_to_ask(Instant::now());
        // Zero would be refused; `rest` ends the hold where nothing is left to ask for.
        let grace = grace.map(|grace| grace.max(Duration::from_millis(1)));
        let request = self.options.request(grace);
        let silence = self.options.silence;
        let replies = ask::ask(request, silence)
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        loop {
            match self.next(&replies)? {
                Reply::Line(line) => {
                    if let Some(outcome) = self.heard(line) {
                        return Ok(outcome);
                    }
                }
                Reply::Refused(problem) if self.is_final(problem.status) => {
                    return Ok(Outcome::Refused(problem));
                }
                Reply::Refused(problem) => {
                    return Err(format!("{} {}", problem.status, problem.detail));
                }
                Reply::Lost(why) => return Err(why),
            }
        }
    }

    /// A request that never was right cannot become so. But a target that was held and is unknown now
    /// (lastcall came back with another folder) is doubt, and doubt holds to the deadline (Law 5).
    fn is_final(&self, status: u16) -> bool {
        // A pod proves by its token who it is: what is wrong with that is doubt as well.
        self.options.pod.is_none()
            && !self.held
            && (400..500).contains(&status)
            && !matches!(status, 408 | 425 | 429)
    }

    fn next(&self, replies: &mpsc::Receiver<Reply>) -> Result<Reply, String> {
        let left = self
            .deadline
            .instant()
            .saturating_duration_since(Instant::now());
        match replies.recv_timeout(left.min(self.options.silence)) {
            Ok(reply) => Ok(reply),
            Err(RecvTimeoutError::Timeout) if left <= self.options.silence => {
                Err("lastcall held to the end".to_owned())
            }
            Err(RecvTimeoutError::Timeout) => Err(format!(
                "nothing heard for {:.1} s",
                self.options.silence.as_secs_f64()
            )),
            Err(RecvTimeoutError::Disconnected) => Err("the call has ended".to_owned()),
        }
    }

    fn heard(&mut self, line: HoldLine) -> Option<Outcome> {
        match line {
            HoldLine::Holding {
                remaining_millis,
                in_flight,
                endpoints,
            } => {
                let remaining = Duration::from_millis(remaining_millis);
                self.alive(remaining);
                self.tell(Progress::Holding {
                    remaining,
                    in_flight,
                    endpoints,
                });
                None
            }
            HoldLine::Heartbeat { remaining_millis } => {
                self.alive(Duration::from_millis(remaining_millis));
                None
            }
            HoldLine::Unknown => None,
            HoldLine::Released {
                cause,
                held_millis,
                since_last_byte_millis,
                cut,
            } => Some(Outcome::Released {
                cause,
                held: from_millis(held_millis),
                since_last_byte: from_millis(since_last_byte_millis),
                cut,
            }),
        }
    }

    fn alive(&mut self, remaining: Duration) {
        self.held = true;
        self.pause = self.options.pauses.0;
        self.deadline.answered(Instant::now(), remaining);
    }

    /// Waits before the next call; the outcome where there is no time for one.
    fn rest(&mut self, why: String) -> Option<Outcome> {
        let now = Instant::now();
        let left = self.deadline.left_to_ask(now);
        if left.is_zero() {
            return Some(Outcome::GaveUp {
                waited: now - self.start,
                why,
            });
        }
        if self.is_uninstalled(now) {
            return Some(Outcome::Uninstalled {
                waited: now - self.start,
            });
        }
        let again_in = self.pause.min(left);
        self.tell(Progress::Lost { why, again_in });
        std::thread::sleep(again_in);
        self.pause = (self.pause * 2).min(self.options.pauses.1);
        None
    }

    /// Whether the hook service has been gone for a while (DESIGN section 6): nobody routes by lastcall then.
    fn is_uninstalled(&mut self, now: Instant) -> bool {
        let Some(pod) = &self.options.pod else {
            return false;
        };
        if !pod.service().is_ok_and(|service| service.is_gone()) {
            self.gone_since = None;
            return false;
        }
        let since = *self.gone_since.get_or_insert(now);
        now.saturating_duration_since(since) >= GONE_FOR
    }

    /// Tells the caller, where it is news.
    fn tell(&mut self, progress: Progress) {
        let same = match (&self.last, &progress) {
            (
                Some(Progress::Holding {
                    in_flight: a,
                    endpoints: x,
                    ..
                }),
                Progress::Holding {
                    in_flight: b,
                    endpoints: y,
                    ..
                },
            ) => a == b && x == y,
            (Some(Progress::Lost { why: a, .. }), Progress::Lost { why: b, .. }) => a == b,
            _ => false,
        };
        if !same {
            (self.out)(&progress);
            self.last = Some(progress);
        }
    }
}

fn from_millis(millis: f64) -> Duration {
    Duration::try_from_secs_f64(millis / 1e3).unwrap_or_default()
}
