//! The begin of a connection of TLS whose inside is passed on, or all of it: what the client asks for, and how it is
//! turned away where that is not here.

use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::End;
use crate::proxy::buffer::Buffer;
use crate::proxy::sni::{Alert, Fault, MAX_HELLO, parse};
use crate::proxy::timer::Timer;
use crate::proxy::worker::{Control, Shutdown, Worker};

/// How long a client that was turned away is given to take its alert and leave, and one that has not said what
/// it wants to say it where the process is going down.
const LINGER: Duration = Duration::from_secs(2);

/// Bytes within which a first message has to end: with the heads of records, should it come in many.
const MAX_BYTES: usize = MAX_HELLO + MAX_HELLO / 4;

/// Reads until the client has said which host it asks for, if it asks for one; until the deadline at the latest. Everything that was read is in
/// `buffer`, for the endpoint.
pub(super) async fn read(
    stream: &mut TcpStream,
    buffer: &mut Buffer,
    mut deadline: Instant,
    worker: &Worker,
    control: &Control,
) -> Result<Option<Box<str>>, End> {
    let mut timer = Timer::default();
    poll_fn(|cx| {
        loop {
            match parse(buffer.filled()) {
                Ok(Some(hello)) => return Poll::Ready(Ok(hello.host)),
                Ok(None) if buffer.filled().len() < MAX_BYTES => {}
                Ok(None) | Err(Fault::TooLong | Fault::Malformed(_)) => {
                    return Poll::Ready(Err(End::Told(Alert::DecodeError)));
                }
                Err(Fault::NotTls) => return Poll::Ready(Err(End::Refused)),
            }
            if control.cut.get() {
                return Poll::Ready(Err(End::Cut));
            }
            if worker.shutdown() >= Shutdown::Idle {
                deadline = deadline.min(Instant::now() + LINGER);
            }
            match buffer.poll_fill(stream, cx) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => return Poll::Ready(Err(End::Refused)),
                Poll::Pending => {
                    ready!(timer.poll_until(deadline, cx));
                    return Poll::Ready(Err(End::Refused));
                }
            }
        }
    })
    .await
}

/// Sends the alert, then reads and drops what still comes for a moment: closing with bytes unread would reset
/// the connection and erase the alert (PITFALLS 42).
pub(super) async fn turn_away(stream: &mut TcpStream, alert: Alert) {
    let farewell = async {
        stream.write_all(&alert.record()).await?;
        stream.shutdown().await?;
        let mut sink = [0; 512];
        while stream.read(&mut sink).await? > 0 {}
        std::io::Result::Ok(())
    };
    // However it ends, the connection is closed now.
    let _ = tokio::time::timeout(LINGER, farewell).await;
}
