//! Much data through TCP connections: whole, in order, and with little memory.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{Config, End, Lastcall, RawClient, RawServer};

const MIB: usize = 1024 * 1024;

/// A mebibyte that is unlike any other part of itself.
fn block() -> Vec<u8> {
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(MIB);
    while bytes.len() < MIB {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn send(stream: &mut TcpStream, block: &[u8], times: usize) {
    for _ in 0..times {
        stream.write_all(block).unwrap();
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
}

/// Reads to the end and compares; how many whole blocks came.
fn receive(stream: &mut TcpStream, block: &[u8]) -> usize {
    let mut piece = vec![0; block.len()];
    let mut times = 0;
    loop {
        match stream.read_exact(&mut piece) {
            Ok(()) => assert!(piece == block, "block {times} is another"),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
                return times;
            }
        }
        times += 1;
    }
}

#[test]
fn a_gibibyte_each_way_at_once_needs_little_memory() {
    let server = RawServer::start();
    let lastcall = Lastcall::start(Config::new(&[server.address]).tcp());
    let before = lastcall.peak_memory();
    let (mut client, mut at_server) = (RawClient::connect(lastcall.address), server.accept());
    let block = block();
    let times = 1024;
    let mut sides = [
        client.sender(),
        client.sender(),
        at_server.sender(),
        at_server.sender(),
    ];
    let [up, down, received, sent] = &mut sides;
    std::thread::scope(|scope| {
        scope.spawn(|| send(up.stream(), &block, times));
        scope.spawn(|| send(sent.stream(), &block, times));
        let at_client = scope.spawn(|| receive(down.stream(), &block));
        let at_server = scope.spawn(|| receive(received.stream(), &block));
        assert_eq!(at_client.join().unwrap(), times);
        assert_eq!(at_server.join().unwrap(), times);
    });
    let grown = lastcall.peak_memory() - before;
    println!("1 GiB each way: {} KiB more at the peak", grown / 1024);
    assert!(grown < 8 * MIB as u64, "{grown} bytes more");
    let gibibyte = f64::from(1 << 30);
    lastcall.wait_for_metric("lastcall_received_bytes_total", gibibyte);
    lastcall.wait_for_metric("lastcall_sent_bytes_total", gibibyte);
    assert_eq!(client.read_to_end().1, End::Fin);
    assert_eq!(at_server.read_to_end().1, End::Fin);
    lastcall.wait_for_in_flight(server.address, 0);
}

#[test]
fn a_slow_reader_gets_every_byte_in_order() {
    let server = RawServer::start();
    let lastcall = Lastcall::start(Config::new(&[server.address]).tcp());
    let mut client = RawClient::connect_narrow(lastcall.address);
    let mut at_server = server.accept();
    let block = block();
    let times = 8;
    std::thread::scope(|scope| {
        scope.spawn(|| send(at_server.stream(), &block, times));
        // Little at a time, and a word in the other direction now and then.
        let mut read = 0;
        let mut piece = vec![0; 50_000];
        while read < times * block.len() {
            let count = client.stream().read(&mut piece).unwrap();
            let at = read % block.len();
            let (first, wrapped) = piece[..count].split_at(count.min(block.len() - at));
            assert!(first == &block[at..at + first.len()] && wrapped == &block[..wrapped.len()]);
            read += count;
            if read % 7 == 0 {
                client.send("go on");
            }
        }
    });
    assert_eq!(client.read_to_end(), (Vec::new(), End::Fin));
}

#[test]
fn many_slow_readers_share_what_pipes_there_are() {
    let server = RawServer::start();
    let lastcall = Lastcall::start(Config::new(&[server.address]).tcp());
    let block = block();
    let mut pairs: Vec<_> = (0..300)
        .map(|_| (RawClient::connect_narrow(lastcall.address), server.accept()))
        .collect();
    std::thread::scope(|scope| {
        for (_, at_server) in &mut pairs {
            let mut sender = at_server.sender();
            let block = &block;
            scope.spawn(move || send(sender.stream(), block, 1));
        }
        // Nobody reads until all are stuck.
        lastcall.wait_for_in_flight(server.address, 300);
        for (client, _) in &mut pairs {
            assert_eq!(receive(client.stream(), &block), 1);
        }
    });
}

#[test]
fn many_small_exchanges_and_a_large_one_between_them() {
    let server = RawServer::start();
    let lastcall = Lastcall::start(Config::new(&[server.address]).tcp());
    let (mut client, mut at_server) = (RawClient::connect(lastcall.address), server.accept());
    let block = block();
    for round in 0..40_usize {
        let length = if round % 10 == 9 { 300_000 } else { round + 1 };
        let mut answers = at_server.sender();
        std::thread::scope(|scope| {
            scope.spawn(|| answers.send(&block[..length]));
            let got = client.read_exactly(length);
            assert!(got == block[..length], "round {round}");
        });
        client.send(&block[..length]);
        assert!(
            at_server.read_exactly(length) == block[..length],
            "round {round}"
        );
    }
}
