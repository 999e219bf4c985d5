//! One worker: a thread with a current-thread runtime that accepts, routes and forwards for itself. What
//! it shares with others are the gates, and numbers that it alone writes.

mod accept;
mod connections;
mod introduced;
mod secure;
#[cfg(test)]
mod tests;
mod view;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, oneshot};

use super::buffer::BufferPool;
use super::rng::Rng;
use super::sheets::Sheets;
use super::splice::PipePool;
use super::stats::{Stats, WorkerStats};
use super::timer::Timers;
use crate::gate::{Generation, WorkerSlot, WorkerTicket};
use crate::model::EndpointId;
use accept::Open;
use connections::Connections;
use view::Upstreams;

pub(super) use connections::{Control, Exchanging, Registered, Unattended};
pub(super) use secure::Shaken;
pub(super) use view::{Limited, Pool, Publication, Site, View};

/// What the control plane tells a worker. Each is acknowledged where somebody has to wait for it.
pub(super) enum Command {
    Publish(Publication, oneshot::Sender<()>),
    /// The endpoint's gate was closed: drop its idle connections.
    Closed(EndpointId),
    /// End what is in flight on the endpoint, if its gate is still in that generation.
    Cut(EndpointId, Generation),
    Listen(u16, std::net::TcpListener),
    /// Accept what waits, then give the socket up.
    Unlisten(u16, oneshot::Sender<()>),
    Shutdown(Shutdown, oneshot::Sender<()>),
}

/// How far the process is on its way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shutdown {
    /// Not at all.
    No,
    /// Every response says that the connection closes.
    Announced,
    /// What clients have already sent is answered; idle connections close.
    Idle,
    /// What is still in flight is ended by force.
    Cut,
}

/// One worker's state, shared by its tasks.
pub struct Worker {
    pub(super) slot: Rc<WorkerSlot>,
    pub(super) buffers: Rc<BufferPool>,
    pub(super) pipes: Rc<PipePool>,
    pub(super) timers: Timers,
    pub(super) sheets: Rc<Sheets>,
    pub(super) rng: Rng,
    stats: Stats,
    view: RefCell<Rc<View>>,
    /// By port: where it accepts.
    doors: RefCell<HashMap<u16, Open>>,
    upstreams: RefCell<Upstreams>,
    connections: Connections,
    shutdown: Cell<Shutdown>,
    date: RefCell<(Option<Instant>, String)>,
}

/// How often idle connections to endpoints are looked at.
const SWEEP: Duration = Duration::from_secs(1);

impl Worker {
    /// Runs a worker on the calling thread until its commands end.
    pub(super) fn run(
        ticket: WorkerTicket,
        seed: u64,
        stats: Stats,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> io::Result<()> {
        // A runtime whose tasks never leave the thread: none of a `LocalSet`'s second queue.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())?;
        let worker = Rc::new(Self {
            slot: Rc::new(ticket.claim()),
            buffers: Rc::default(),
            pipes: Rc::default(),
            timers: Timers::default(),
            sheets: Rc::default(),
            rng: Rng::new(seed),
            stats,
            view: RefCell::default(),
            doors: RefCell::default(),
            upstreams: RefCell::default(),
            connections: Connections::default(),
            shutdown: Cell::new(Shutdown::No),
            date: RefCell::default(),
        });
        runtime.block_on(worker.obey(commands));
        Ok(())
    }

    async fn obey(self: Rc<Self>, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            let command = tokio::select! {
                command = commands.recv() => command,
                _ = sweep.tick() => {
                    self.upstreams.borrow().sweep(Instant::now());
                    self.upstreams.borrow().stir();
                    continue;
                }
            };
            match command {
                None => return,
                Some(Command::Publish(publication, done)) => {
                    self.publish(&publication);
                    let _ = done.send(());
                }
                Some(Command::Closed(id)) => {
                    if let Some(upstream) = self.upstreams.borrow().get(&id) {
                        upstream.close_idle();
                    }
                }
                Some(Command::Cut(id, generation)) => self.cut(&id, generation),
                Some(Command::Listen(port, listener)) => self.listen(port, listener),
                Some(Command::Unlisten(port, done)) => self.unlisten(port, done),
                Some(Command::Shutdown(shutdown, done)) => {
                    self.shut_down(shutdown);
                    let _ = done.send(());
                }
            }
        }
    }

    fn cut(&self, id: &EndpointId, generation: Generation) {
        let key = match self.upstreams.borrow().get(id) {
            Some(upstream) if upstream.generation() == generation => upstream.key,
            // Gone, or withdrawn in between: what is in flight may have entered since.
            Some(_) | None => return,
        };
        self.connections.cut_on(key);
    }

    fn shut_down(&self, shutdown: Shutdown) {
        self.shutdown.set(shutdown);
        if shutdown == Shutdown::Cut {
            self.connections.cut_all();
        } else {
            self.connections.wake_all();
        }
    }

    /// How far the process is on its way down.
    pub(super) fn shutdown(&self) -> Shutdown {
        self.shutdown.get()
    }

    /// The configuration as it is now; hold it for one request only.
    pub(super) fn view(&self) -> Rc<View> {
        Rc::clone(&self.view.borrow())
    }

    /// This worker's numbers.
    pub(super) fn stats(&self) -> &WorkerStats {
        self.stats.worker(self.slot.index())
    }

    /// Counts a final response by the first digit of its status.
    pub(super) fn count_response(&self, status: u16) {
        let class = usize::from(status / 100).min(5);
        self.stats().responses[class].add(1);
    }

    /// Calls `with` with the time as `Date` has it, made once a second.
    pub(super) fn with_date<T>(&self, now: Instant, with: impl FnOnce(&str) -> T) -> T {
        let mut date = self.date.borrow_mut();
        let fresh = date
            .0
            .is_some_and(|at| now.saturating_duration_since(at) < Duration::from_millis(500));
        if !fresh {
            *date = (
                Some(now),
                httpdate::fmt_http_date(std::time::SystemTime::now()),
            );
        }
        with(&date.1)
    }
}
