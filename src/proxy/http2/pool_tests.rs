//! Connections to an endpoint that speaks HTTP/2: shared, and closed once a drain leaves them nothing to do.

use std::cell::Cell;
use std::future::{Ready, poll_fn, ready};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, DuplexStream};

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
        let place = place.ok().flatten().unwrap();
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
                .flatten()
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
        let place = place.await.ok().flatten().unwrap();
        assert!(place.fresh);
        // Nobody else gets it, and it closes behind the one that did.
        assert!(pool.place_at_hand().is_none());
        drop(place);
        until(|| ended.get()).await;
    });
}

/// It may ask for another one.
#[test]
fn who_finds_the_connection_full_that_was_made_for_it_is_told_so() {
    on_a_worker(async {
        let pool = Http2Pool::default();
        let ended = Rc::new(Cell::new(false));
        let mut place = std::pin::pin!(pool.place(|| connect(Rc::clone(&ended))));
        let pending = poll_fn(|cx| Poll::Ready(place.as_mut().poll(cx).is_pending()));
        assert!(pending.await);
        until(|| pool.place_at_hand().is_some()).await;
        let others: Vec<_> = std::iter::from_fn(|| pool.place_at_hand()).collect();
        assert!(matches!(place.await, Ok(None)));
        drop(others);
    });
}

/// Before an endpoint that takes a connection and never answers on it, once the first who waited for it has gone.
/// Time passes by itself where all wait.
fn with_a_silent_endpoint(test: impl AsyncFnOnce(Http2Pool)) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let options = tokio::runtime::LocalOptions::default();
    let runtime = builder.enable_all().start_paused(true);
    let runtime = runtime.build_local(options).unwrap();
    runtime.block_on(async {
        let pool = Http2Pool::default();
        let (silent, _endpoint) = tokio::io::duplex(64 * 1024);
        let first = pool.place(|| std::future::ready(Ok(silent)));
        let first = tokio::time::timeout(Duration::from_secs(5), first).await;
        assert!(first.is_err(), "who waits has a limit of their own");
        test(pool).await;
    });
}

#[test]
fn a_connection_that_is_never_answered_is_not_waited_for_by_all_that_come_later() {
    with_a_silent_endpoint(async |pool| {
        // The next still waits for the same, and hears that it failed.
        let ended = Rc::new(Cell::new(false));
        assert!(pool.place(|| connect(Rc::clone(&ended))).await.is_err());
        let place = pool.place(|| connect(Rc::clone(&ended))).await;
        assert!(matches!(place, Ok(Some(_))));
    });
}

#[test]
fn a_connection_that_nobody_waits_for_any_more_is_given_up_in_time_all_the_same() {
    with_a_silent_endpoint(async |pool| {
        tokio::time::sleep(Duration::from_secs(20)).await;
        let ended = Rc::new(Cell::new(false));
        let place = pool.place(|| connect(Rc::clone(&ended))).await;
        assert!(
            matches!(place, Ok(Some(_))),
            "the next is told of another's"
        );
    });
}

#[test]
fn a_connection_that_nobody_waits_for_any_more_is_there_for_who_comes_later() {
    on_a_worker(async {
        let pool = Http2Pool::default();
        let ended = Rc::new(Cell::new(false));
        let mut place = Box::pin(pool.place(|| connect(Rc::clone(&ended))));
        let pending = poll_fn(|cx| Poll::Ready(place.as_mut().poll(cx).is_pending()));
        assert!(pending.await);
        drop(place);
        until(|| pool.idle_count() == 1).await;
        assert!(pool.place_at_hand().is_some());
        // The control: where a drain has begun meanwhile, it is closed.
        let pool = Http2Pool::default();
        let mut place = Box::pin(pool.place(|| connect(Rc::clone(&ended))));
        let pending = poll_fn(|cx| Poll::Ready(place.as_mut().poll(cx).is_pending()));
        assert!(pending.await);
        drop(place);
        pool.close_idle();
        until(|| ended.get()).await;
        assert_eq!(pool.idle_count(), 0);
    });
}

#[test]
fn a_connection_that_turned_out_to_be_of_http2_is_for_who_asks_next() {
    on_a_worker(async {
        let pool = Http2Pool::default();
        let ended = Rc::new(Cell::new(false));
        pool.adopt(connect(Rc::clone(&ended)).await.unwrap());
        let another = || async { unreachable!() as io::Result<DuplexStream> };
        let place = pool.place(another).await.ok().flatten().unwrap();
        assert!(!place.fresh);
        // There is one: another is not needed.
        let (second, mut its_end) = tokio::io::duplex(1024);
        pool.adopt(second);
        assert_eq!(its_end.read(&mut [0]).await.unwrap(), 0);
        assert!(!ended.get());
    });
}
