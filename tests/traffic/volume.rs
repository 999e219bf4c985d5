//! Large bodies at constant memory: a gigabyte each way, and peers that take or read nothing, by which the
//! other side is stopped (back-pressure) and lastcall's memory is not filled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::bulk::{Bulk, Download, Framing, upload};
use crate::flow::alone;
use crate::is_soak;
use crate::support::backend::Gate;
use crate::support::{Config, Lastcall};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What may be resident, the program itself aside, whatever is moved.
const RESIDENT: u64 = 32 * MIB;

#[test]
fn a_gigabyte_up_and_one_down_at_once_need_no_memory() {
    let _alone = alone();
    let server = Bulk::start(None);
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    let target = lastcall.address;
    let mut ways = vec![(Framing::Length, Framing::Chunked)];
    if is_soak() {
        ways.push((Framing::Chunked, Framing::Length));
    }
    for (up, down) in ways {
        let before = lastcall.peak_memory();
        let begin = Instant::now();
        let (sent, got) = std::thread::scope(|scope| {
            let sent = scope.spawn(|| upload(target, up, GIB, &AtomicU64::new(0)));
            let got = Download::start(target, down, GIB).read();
            (sent.join().unwrap(), got)
        });
        let after = lastcall.peak_memory();
        println!(
            "1 GiB up ({up:?}) and 1 GiB down ({down:?}) in {:?}: at most {} KiB resident, {} KiB before",
            begin.elapsed(),
            after / 1024,
            before / 1024
        );
        assert_eq!((sent, got), (GIB, GIB));
        let program = lastcall.program_memory();
        assert!(
            after - program < RESIDENT,
            "{after} bytes were resident, {program} of them the program"
        );
        assert!(
            after < before + 4 * MIB,
            "{before} bytes resident, then {after}"
        );
    }
}

/// Peers that take nothing at first, and what each of them moves: much more than the kernel's buffers on
/// the way take.
const STALLED: u64 = 6;
const EACH: u64 = 128 * MIB;

/// How much more may be resident for them: a buffer of 64 KiB each way and what belongs to it.
const FOR_STALLED: u64 = 4 * MIB;

/// Waits until no more is taken. On a machine so busy that this is believed too early the test sees less,
/// and does not fail.
fn wait_until_it_stops(count: impl Fn() -> u64) -> u64 {
    let (mut last, mut since) = (count(), Instant::now());
    while last == 0 || since.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(20));
        let now = count();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

#[test]
fn a_client_that_reads_nothing_stops_the_server_and_fills_no_memory() {
    let _alone = alone();
    let server = Bulk::start(None);
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    assert_eq!(
        Download::start(lastcall.address, Framing::Length, MIB).read(),
        MIB
    );
    let before = lastcall.memory();
    let sent_before = server.sent();
    let framing = |nth| [Framing::Length, Framing::Chunked][usize::from(nth % 2 == 0)];
    let downloads: Vec<_> = (0..STALLED)
        .map(|nth| Download::start(lastcall.address, framing(nth), EACH))
        .collect();
    let sent = wait_until_it_stops(|| server.sent() - sent_before);
    let grown = lastcall.memory().saturating_sub(before);
    println!(
        "{STALLED} clients that read nothing of {} MiB each: {} MiB were sent by the server, {} KiB more \
         resident",
        EACH / MIB,
        sent / MIB,
        grown / 1024
    );
    assert!(sent < STALLED * EACH, "the server was never stopped");
    assert!(grown < FOR_STALLED, "{grown} bytes more are resident");
    std::thread::scope(|scope| {
        for download in downloads {
            scope.spawn(|| assert_eq!(download.read(), EACH));
        }
    });
    let grown = lastcall.memory().saturating_sub(before);
    assert!(grown < FOR_STALLED, "{grown} bytes more are resident");
}

#[test]
fn a_server_that_reads_nothing_stops_the_client_and_fills_no_memory() {
    let _alone = alone();
    let gate = Gate::new();
    let server = Bulk::start(Some(gate.clone()));
    let lastcall = Lastcall::start(Config::new(&[server.address]));
    assert_eq!(
        Download::start(lastcall.address, Framing::Length, MIB).read(),
        MIB
    );
    let before = lastcall.memory();
    let sent: Arc<AtomicU64> = Arc::default();
    let framing = |nth| [Framing::Length, Framing::Chunked][usize::from(nth % 2 == 0)];
    std::thread::scope(|scope| {
        for nth in 0..STALLED {
            let (sent, target) = (Arc::clone(&sent), lastcall.address);
            scope.spawn(move || assert_eq!(upload(target, framing(nth), EACH, &sent), EACH));
        }
        let taken = wait_until_it_stops(|| sent.load(Ordering::SeqCst));
        let grown = lastcall.memory().saturating_sub(before);
        println!(
            "{STALLED} uploads of {} MiB each that nobody reads: {} MiB were taken from the clients, {} KiB \
             more resident",
            EACH / MIB,
            taken / MIB,
            grown / 1024
        );
        gate.open();
        assert!(taken < STALLED * EACH, "the clients were never stopped");
        assert!(grown < FOR_STALLED, "{grown} bytes more are resident");
    });
    let grown = lastcall.memory().saturating_sub(before);
    assert!(grown < FOR_STALLED, "{grown} bytes more are resident");
}
