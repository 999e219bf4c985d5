//! Ports that are taken, taken out and brought back.

use super::*;
use crate::proxy::samples;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

/// Long enough for a busy machine; nothing waits for it to pass.
const LIMIT: Duration = Duration::from_secs(20);

fn start() -> Workers {
    Workers::start(1, Ipv4Addr::LOCALHOST.into()).unwrap()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

async fn publish(workers: &Workers, listeners: &[(&str, u16)]) {
    let gates = Arc::default();
    workers.publish(samples::snapshot(listeners), gates).await;
}

/// The status of the answer to a request, or why there is none.
fn ask(port: u16) -> std::io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut client = TcpStream::connect_timeout(&address, LIMIT)?;
    client.set_read_timeout(Some(LIMIT))?;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    Ok(answer.split(' ').nth(1).unwrap_or_default().to_owned())
}

/// Sockets that listen on the port.
fn listening(port: u16) -> usize {
    let local = format!(":{port:04X} 00000000:0000 0A ");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().filter(|line| line.contains(&local)).count()
}

#[test]
fn a_port_that_was_taken_is_bound_when_it_is_tried_again() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let workers = start();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let failed = || runtime.block_on(workers.failed_ports());
    runtime.block_on(publish(&workers, &[("http", port)]));
    assert!(failed()[&port].contains("another program listens there"));
    runtime.block_on(workers.retry_failed_ports());
    assert_eq!(failed().len(), 1);
    drop(taken);
    runtime.block_on(workers.retry_failed_ports());
    assert_eq!(failed(), BTreeMap::new());
    assert_eq!(ask(port).unwrap(), "404");
    // What is bound stays as it is.
    runtime.block_on(workers.retry_failed_ports());
    assert_eq!(listening(port), 1);
}

#[test]
fn a_port_that_is_taken_out_and_brought_back_at_once_is_served() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (workers, port) = (start(), free_port());
    let (busy, over) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async {
        publish(&workers, &[("http", port)]).await;
        // As on a busy machine: what is spawned behind it runs later.
        tokio::spawn(async move { over.recv() });
        publish(&workers, &[]).await;
        publish(&workers, &[("http", port)]).await;
    });
    drop(busy);
    let begin = Instant::now();
    while listening(port) != 1 {
        assert!(begin.elapsed() < LIMIT, "{} listen", listening(port));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(ask(port).unwrap(), "404");
}
