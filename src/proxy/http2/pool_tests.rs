//! Connections to an endpoint that speaks HTTP/2: shared, and closed once a drain leaves them nothing to do.

use std::cell::Cell;
use std::future::{Ready, poll_fn, ready};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::DuplexStream;

use super::pool::Http2Pool;
use crate::gate::{Gate, Generation, State, Wake};
use crate::model::{EndpointId, Member, ObjectName};
use crate::proxy::upstream::Upstream;

/// Runs a test as a worker runs its tasks.
fn on_a_worker(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let options = tokio::runtime::LocalOptions::default();
    let runtime = builder.enable_all().build_local(options).unwrap();
    runtime.block_on(test);
}

/// A connection to an endpoint that takes every stream; `ended` once it has ended.
fn connect(ended: Rc<Cell<bool>>) -> Ready<io::Result<DuplexStream>> {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::task::spawn_local(async move {
        let mut open = h2::server::handshake(theirs).await.unwrap();
        let mut streams: Vec<(_, h2::server::SendResponse<Bytes>)> = Vec::new();
        while let Some(Ok(stream)) = open.accept().await {
            streams.push(stream);
        }
        ended.set(true);
    });
    ready(Ok(ours))
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::task::yield_now().await;
    }
}

struct Nobody;

impl Wake for Nobody {
    fn emptied(&self, _: Generation) {}
}

#[test]
fn an_idle_connection_to_a_closed_endpoint_is_closed_at_the_next_look() {
    on_a_worker(async {
        let gate = Arc::new(Gate::new(1, State::Open, Arc::new(Nobody)));
        let id = EndpointId {
            backend: ObjectName::new("default", "web"),
            member: Member::Static(([127, 0, 0, 1], 1).into()),
        };
        let upstream = Upstream::new(id, ([127, 0, 0, 1], 1).into(), 1, Arc::clone(&gate));
        let ended = Rc::new(Cell::new(false));
        let place = upstream.http2.place(|| connect(Rc::clone(&ended))).await;
        let place = place.ok().unwrap();
        gate.change(State::Closed);
        // What it carries may finish.
        upstream.sweep(Instant::now());
        assert!(upstream.http2.place_at_hand().is_some());
        drop(place);
        upstream.sweep(Instant::now());
        until(|| ended.get()).await;
        // The control: one that may get more is kept.
        gate.change(State::Open);
        let ended = Rc::new(Cell::new(false));
        drop(
            upstream
                .http2
                .place(|| connect(Rc::clone(&ended)))
                .await
                .ok()
                .unwrap(),
        );
        upstream.sweep(Instant::now());
        assert_eq!((upstream.idle_count(), ended.get()), (1, false));
        upstream.sweep(Instant::now() + Duration::from_mins(2));
        until(|| ended.get()).await;
    });
}

#[test]
fn who_waits_for_a_connection_uses_it_though_a_drain_has_begun() {
    on_a_worker(async {
        let pool = Http2Pool::default();
        let ended = Rc::new(Cell::new(false));
        let mut place = std::pin::pin!(pool.place(|| connect(Rc::clone(&ended))));
        let pending = poll_fn(|cx| Poll::Ready(place.as_mut().poll(cx).is_pending()));
        assert!(pending.await);
        pool.close_idle();
        let place = place.await.ok().unwrap();
        assert!(place.fresh);
        // Nobody else gets it, and it closes behind the one that did.
        assert!(pool.place_at_hand().is_none());
        drop(place);
        until(|| ended.get()).await;
    });
}
