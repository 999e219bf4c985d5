//! The coordinator's task: takes commands, wake-ups of gates and the passing of time, one at a time, and
//! lets [`super::endpoints`] and [`super::holds`] act on them.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::endpoints::Endpoints;
use super::holds::Holds;
use super::{Handle, HoldKey, HoldRequest, HoldUpdate, Journal, TargetError};
use crate::gate::{Gate, Generation};
use crate::model::grace::Allowance;
use crate::model::report::BackendReport;
use crate::model::{AdminState, EndpointId, Snapshot, Target};

/// How often holders hear a changed number, and vanished callers are looked for.
const HOLD_TICK: Duration = Duration::from_millis(100);

/// How long a vanished caller may come back before its hold is withdrawn (Law 6).
const VANISHED: Duration = Duration::from_secs(30);

pub(super) enum Command {
    Configure {
        snapshot: Arc<Snapshot>,
        reply: oneshot::Sender<()>,
    },
    Hold {
        request: HoldRequest,
        reply: oneshot::Sender<Result<mpsc::UnboundedReceiver<HoldUpdate>, TargetError>>,
    },
    SetAdminState {
        target: Target,
        state: AdminState,
        timeout: Option<Duration>,
        reply: oneshot::Sender<Result<Vec<EndpointId>, TargetError>>,
    },
    CameBack {
        key: HoldKey,
    },
    PodGone {
        uid: Arc<str>,
    },
    Shorten {
        key: HoldKey,
        allowance: Allowance,
    },
    Report {
        reply: oneshot::Sender<Vec<BackendReport>>,
    },
    /// Every worker runs this configuration.
    Published {
        snapshot: Arc<Snapshot>,
        number: u64,
        /// Told when its gates are as it says.
        done: oneshot::Sender<()>,
    },
    /// What the live look-up said of a hold whose caller vanished.
    LookedUp {
        key: HoldKey,
        leaving: Leaving,
    },
}

/// The runtime's clock, which tests can pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A gate that is not open may have become empty.
pub(super) struct Emptied {
    pub(super) id: EndpointId,
    pub(super) generation: Generation,
    /// When its last request left.
    pub(super) at: Instant,
}

/// What the workers run: the configuration, and the gate of each endpoint in it.
#[derive(Clone)]
pub struct Published {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// The gate of every endpoint in it.
    pub gates: Arc<HashMap<EndpointId, Arc<Gate>>>,
}

/// What the coordinator needs of the data plane.
pub trait DataPlane: Send + Sync {
    /// Run this from now on. Resolves when every worker does.
    fn publish(&self, published: Published) -> Pin<Box<dyn Future<Output = ()> + Send>>;
    /// The endpoint's gate was closed: drop its idle connections (PITFALLS 14).
    fn closed(&self, id: &EndpointId);
    /// End by force what is in flight on the endpoint, where its gate is still in `generation`: an order that
    /// comes after the gate was opened again is not for what entered since.
    fn cut(&self, id: &EndpointId, generation: Generation);
}

/// Whether the server behind an endpoint is on its way out, as far as can be seen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It is being stopped.
    Yes,
    /// It is not.
    No,
    /// That could not be found out: the hold goes on to its deadline (Law 5).
    Unknown,
}

/// What must be looked up live, past every cache (Law 5); `app` has `source` do it.
pub trait LiveLookup: Send + Sync {
    /// Whether the server of the hold is being stopped.
    fn leaving(&self, key: &HoldKey) -> Pin<Box<dyn Future<Output = Leaving> + Send>>;
}

/// A configuration on its way to the workers.
struct Publication {
    published: Published,
    number: u64,
    /// Told when every worker runs it and its gates are as it says.
    done: oneshot::Sender<()>,
}

/// Hands configurations to the workers, each after the one before.
async fn publish_in_order(
    data_plane: Arc<dyn DataPlane>,
    mut queue: mpsc::UnboundedReceiver<Publication>,
    coordinator: mpsc::WeakUnboundedSender<Command>,
) {
    while let Some(publication) = queue.recv().await {
        let snapshot = Arc::clone(&publication.published.snapshot);
        data_plane.publish(publication.published).await;
        let Some(commands) = coordinator.upgrade() else {
            return;
        };
        // Fails only where the coordinator has ended, and with it everyone who waits.
        let _ = commands.send(Command::Published {
            snapshot,
            number: publication.number,
            done: publication.done,
        });
    }
}

/// The task that owns every gate.
pub struct Coordinator {
    commands: mpsc::UnboundedReceiver<Command>,
    emptied: mpsc::UnboundedReceiver<Emptied>,
    endpoints: Endpoints,
    holds: Holds,
    data_plane: Arc<dyn DataPlane>,
    publications: mpsc::UnboundedSender<Publication>,
    lookup: Arc<dyn LiveLookup>,
    own_commands: mpsc::WeakUnboundedSender<Command>,
    changes: watch::Sender<u64>,
}

impl Coordinator {
    /// A coordinator for gates of `workers` workers, and the handle to it. `journal` hears what an
    /// operator wants to know. Must be called within a tokio runtime.
    pub fn new(
        workers: usize,
        data_plane: Arc<dyn DataPlane>,
        lookup: Arc<dyn LiveLookup>,
        journal: Journal,
    ) -> (Self, Handle) {
        let (commands, receiver) = mpsc::unbounded_channel();
        let (wake, emptied) = mpsc::unbounded_channel();
        let (changes, watched) = watch::channel(0);
        let (publications, queue) = mpsc::unbounded_channel();
        let own_commands = commands.downgrade();
        tokio::spawn(publish_in_order(
            Arc::clone(&data_plane),
            queue,
            own_commands.clone(),
        ));
        let coordinator = Self {
            commands: receiver,
            emptied,
            endpoints: Endpoints::new(workers, wake, Arc::clone(&journal)),
            holds: Holds::new(journal),
            data_plane,
            publications,
            lookup,
            own_commands,
            changes,
        };
        let handle = Handle {
            commands,
            changes: watched,
        };
        (coordinator, handle)
    }

    /// Runs until every [`Handle`] is gone.
    pub async fn run(mut self) {
        let mut hold_tick = tokio::time::interval(HOLD_TICK);
        hold_tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let timer = self.next_timer();
            tokio::select! {
                // Wake-ups first: a release is due the moment the last request has left.
                biased;
                Some(emptied) = self.emptied.recv() => self.endpoints.emptied(&emptied),
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                () = tokio::time::sleep_until(timer.into()) => {}
                _ = hold_tick.tick(), if !self.holds.is_empty() => self.tick_holds(),
            }
            self.settle();
        }
    }

    fn next_timer(&self) -> Instant {
        let now = now();
        let far = now + Duration::from_hours(1);
        let timers = [self.endpoints.next_timer(), self.holds.next_timer(now)];
        timers.into_iter().flatten().min().unwrap_or(far)
    }

    fn command(&mut self, command: Command) {
        let now = now();
        // An answer that nobody waits for any more is no error.
        match command {
            Command::Configure { snapshot, reply } => {
                self.configure(snapshot, reply, now);
            }
            Command::Hold { request, reply } => {
                let _ = reply.send(self.holds.begin(request, &mut self.endpoints, now));
            }
            Command::SetAdminState {
                target,
                state,
                timeout,
                reply,
            } => {
                let set = self.endpoints.set_admin_state(&target, state, timeout, now);
                if let (Ok(ids), AdminState::Enabled) = (&set, state) {
                    self.holds.enabled(ids, &mut self.endpoints);
                }
                let _ = reply.send(set);
            }
            Command::CameBack { key } => self.holds.came_back(&key, &mut self.endpoints),
            Command::PodGone { uid } => self.holds.pod_gone(&uid, &mut self.endpoints),
            Command::Shorten { key, allowance } => {
                self.holds.shorten(&key, allowance, &mut self.endpoints);
            }
            Command::Report { reply } => {
                let _ = reply.send(self.endpoints.report(now));
            }
            Command::Published {
                snapshot,
                number,
                done,
            } => {
                self.endpoints.configure(number, &snapshot, now);
                self.settle();
                let _ = done.send(());
            }
            Command::LookedUp { key, leaving } => {
                self.holds.looked_up(&key, leaving, &mut self.endpoints);
            }
        }
    }

    /// Gates of what is new exist, and are open, before a request can ask for them; those of what left are
    /// closed when every worker knows what is new, so that no request is without an endpoint in between.
    /// The workers are not waited for here: a release is due the moment the last request has left,
    /// whatever else they are at.
    fn configure(&mut self, snapshot: Arc<Snapshot>, done: oneshot::Sender<()>, now: Instant) {
        let (gates, number) = self.endpoints.prepare(&snapshot, now);
        self.settle();
        let gates = Arc::new(gates);
        let published = Published { snapshot, gates };
        // Fails only where the runtime is going down.
        let _ = self.publications.send(Publication {
            published,
            number,
            done,
        });
    }

    /// Follows up whatever just happened until nothing more does: endpoints change state, holds end by
    /// that.
    fn settle(&mut self) {
        let now = now();
        loop {
            let looked = self.endpoints.settle(now, self.data_plane.as_ref());
            if !self.holds.settle(&looked, &mut self.endpoints, now) {
                break;
            }
        }
        if self.endpoints.take_changed() {
            self.changes.send_modify(|revision| *revision += 1);
        }
    }

    /// Tells holders how it goes, and looks up those whose caller is gone.
    fn tick_holds(&mut self) {
        let now = now();
        for key in self.holds.tick(&self.endpoints, now, VANISHED) {
            let looked_up = self.lookup.leaving(&key);
            let Some(commands) = self.own_commands.upgrade() else {
                return;
            };
            tokio::spawn(async move {
                let leaving = looked_up.await;
                let _ = commands.send(Command::LookedUp { key, leaving });
            });
        }
    }
}
