//! The gate's two properties, over every interleaving that loom finds (DESIGN section 4).

use std::rc::Rc;
use std::sync::Arc;

use gate_loom::gate::{Admission, Gate, Generation, InFlight, State, Wake, worker_tickets};
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

/// Remembers the newest generation it was woken for; 0 is never.
#[derive(Default)]
struct Woken(AtomicU64);

impl Wake for Woken {
    fn emptied(&self, generation: Generation) {
        self.0.fetch_max(generation.0, Ordering::SeqCst);
    }
}

#[derive(Clone)]
struct Endpoint(Arc<Gate>);

impl AsRef<Gate> for Endpoint {
    fn as_ref(&self) -> &Gate {
        &self.0
    }
}

fn gate(workers: usize) -> (Arc<Gate>, Arc<Woken>) {
    let woken = Arc::new(Woken::default());
    (
        Arc::new(Gate::new(workers, State::Open, woken.clone())),
        woken,
    )
}

/// A worker that serves `requests` requests, each only if it is let in.
fn worker(
    gate: &Arc<Gate>,
    ticket: gate_loom::gate::WorkerTicket,
    requests: usize,
) -> thread::JoinHandle<()> {
    let endpoint = Endpoint(gate.clone());
    thread::spawn(move || {
        let slot = Rc::new(ticket.claim());
        for _ in 0..requests {
            drop(InFlight::enter(endpoint.clone(), &slot, Admission::New));
        }
    })
}

/// The closer saw a zero itself, or it is woken in the closed generation: no hold waits for ever.
#[test]
fn closed_and_sum_zero_implies_woken() {
    loom::model(|| {
        let (gate, woken) = gate(1);
        let ticket = worker_tickets(1).remove(0);
        let busy = worker(&gate, ticket, 1);
        let closed = gate.change(State::Closed);
        let seen_by_closer = gate.confirms_drained(closed.generation);
        busy.join().unwrap();
        assert_eq!(gate.in_flight(), 0);
        let woken_for = woken.0.load(Ordering::SeqCst);
        assert!(
            seen_by_closer || woken_for == closed.generation.0,
            "closed and empty, and nobody was told"
        );
    });
}

/// The same with two workers: whoever is last wakes.
#[test]
fn the_last_of_two_workers_wakes() {
    loom::model(|| {
        let (gate, woken) = gate(2);
        let threads: Vec<_> = worker_tickets(2)
            .into_iter()
            .map(|t| worker(&gate, t, 1))
            .collect();
        let closed = gate.change(State::Closed);
        let seen_by_closer = gate.confirms_drained(closed.generation);
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(gate.confirms_drained(closed.generation));
        assert!(seen_by_closer || woken.0.load(Ordering::SeqCst) == closed.generation.0);
    });
}

/// While a drain is confirmed nobody is inside, and nobody gets in (Law 2).
#[test]
fn nothing_enters_after_a_confirmed_zero() {
    loom::model(|| {
        let (gate, _woken) = gate(1);
        let inside = Arc::new(AtomicU64::new(0));
        let confirmed = Arc::new(AtomicU64::new(0));
        let ticket = worker_tickets(1).remove(0);
        let busy = {
            let (endpoint, inside, confirmed) =
                (Endpoint(gate.clone()), inside.clone(), confirmed.clone());
            thread::spawn(move || {
                let slot = Rc::new(ticket.claim());
                let before = confirmed.load(Ordering::SeqCst);
                if let Ok(guard) = InFlight::enter(endpoint, &slot, Admission::New) {
                    assert_eq!(before, 0, "let in after the drain was confirmed");
                    inside.store(1, Ordering::Relaxed);
                    inside.store(0, Ordering::Relaxed);
                    drop(guard);
                }
            })
        };
        let closed = gate.change(State::Closed);
        if gate.confirms_drained(closed.generation) {
            assert_eq!(
                inside.load(Ordering::Relaxed),
                0,
                "confirmed with a request inside"
            );
            confirmed.store(1, Ordering::SeqCst);
        }
        busy.join().unwrap();
    });
}

/// Close, open, close: a wake-up or a zero of the first drain confirms nothing in the second.
#[test]
fn an_older_generation_confirms_nothing() {
    loom::model(|| {
        let (gate, _woken) = gate(1);
        let busy = worker(&gate, worker_tickets(1).remove(0), 1);
        let first = gate.change(State::Closed);
        gate.change(State::Open);
        let second = gate.change(State::Closed);
        assert!(!gate.confirms_drained(first.generation));
        busy.join().unwrap();
        assert!(gate.confirms_drained(second.generation));
    });
}

/// Sessions still get in while only they may, so a zero there is not final.
#[test]
fn a_zero_of_sessions_only_confirms_nothing() {
    loom::model(|| {
        let (gate, _woken) = gate(1);
        let phase = gate.change(State::SessionsOnly);
        assert!(!gate.confirms_drained(phase.generation));
        let slot = Rc::new(worker_tickets(1).remove(0).claim());
        assert!(InFlight::enter(Endpoint(gate.clone()), &slot, Admission::New).is_err());
        assert!(InFlight::enter(Endpoint(gate.clone()), &slot, Admission::Session).is_ok());
    });
}
