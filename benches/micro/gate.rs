//! What it costs to count a request in and out of an endpoint, alone, beside a
//! worker that does the same, and beside a coordinator that reads the sum all the time.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use divan::{Bencher, black_box};
use lastcall::gate::{
    Admission, Gate, Generation, InFlight, State, Wake, WorkerTicket, worker_tickets,
};

/// Nobody waits.
struct Nobody;

impl Wake for Nobody {
    fn emptied(&self, _: Generation) {}
}

/// An endpoint, as a worker holds it: without a count that it would share with others.
struct Endpoint<'a>(&'a Gate);

impl AsRef<Gate> for Endpoint<'_> {
    fn as_ref(&self) -> &Gate {
        self.0
    }
}

/// A gate for two workers, and their tickets.
fn gate(state: State) -> (Gate, Vec<WorkerTicket>) {
    (Gate::new(2, state, Arc::new(Nobody)), worker_tickets(2))
}

/// Has a thread do what `other` makes, over and over, while `measured` runs.
fn beside<F: FnMut()>(other: impl FnOnce() -> F + Send, measured: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut other = other();
            while !stop.load(Ordering::Relaxed) {
                other();
            }
        });
        measured();
        stop.store(true, Ordering::Relaxed);
    });
}

fn enter_and_leave(bencher: Bencher<'_, '_>, gate: &Gate, ticket: WorkerTicket) {
    let slot = Rc::new(ticket.claim());
    bencher.bench_local(|| {
        let entered = InFlight::enter(Endpoint(black_box(gate)), &slot, Admission::New);
        assert!(entered.is_ok());
    });
}

#[divan::bench]
fn enter_and_leave_alone(bencher: Bencher<'_, '_>) {
    let (gate, mut tickets) = gate(State::Open);
    enter_and_leave(bencher, &gate, tickets.remove(0));
}

#[divan::bench]
fn enter_and_leave_beside_another_worker(bencher: Bencher<'_, '_>) {
    let (gate, mut tickets) = gate(State::Open);
    let (ours, theirs) = (tickets.remove(0), tickets.remove(0));
    let gate = &gate;
    beside(
        || {
            let slot = Rc::new(theirs.claim());
            move || drop(InFlight::enter(Endpoint(gate), &slot, Admission::New))
        },
        || enter_and_leave(bencher, gate, ours),
    );
}

#[divan::bench]
fn enter_and_leave_while_the_sum_is_read(bencher: Bencher<'_, '_>) {
    let (gate, mut tickets) = gate(State::Open);
    let ticket = tickets.remove(0);
    beside(
        || {
            || {
                black_box(gate.in_flight());
            }
        },
        || enter_and_leave(bencher, &gate, ticket),
    );
}

#[divan::bench]
fn refused(bencher: Bencher<'_, '_>) {
    let (gate, mut tickets) = gate(State::Closed);
    let slot = Rc::new(tickets.remove(0).claim());
    bencher.bench_local(|| {
        let entered = InFlight::enter(Endpoint(black_box(&gate)), &slot, Admission::New);
        assert!(entered.is_err());
    });
}

#[divan::bench]
fn confirm_drained(bencher: Bencher<'_, '_>) {
    let (gate, _tickets) = gate(State::Closed);
    let generation = gate.phase().generation;
    bencher.bench_local(|| assert!(black_box(&gate).confirms_drained(generation)));
}
