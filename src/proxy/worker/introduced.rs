//! A connection that a proxy introduces: first its PROXY header, then whatever its listener speaks, on one
//! task. Others never come here, and pay nothing for it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use super::Shutdown;
use super::accept::Arrived;
use super::view::Site;
use crate::model::Protocol;
use crate::proxy::http1::driver;
use crate::proxy::origin::Origin;
use crate::proxy::proxy_protocol::{Addresses, NoHeader, receive};
use crate::proxy::timer::Timer;
use crate::proxy::tunnel::reset_on_close;

/// How long a proxy that has said nothing is given to say it where the process is going down.
const LAST_CALL: Duration = Duration::from_secs(2);

/// Reads the header of a connection that `peer` made, and serves whom it speaks for. Without one it is reset:
/// what it would say is not known to be anybody's.
pub(super) async fn serve(arrived: Arrived, site: Rc<Site>, peer: SocketAddr) {
    let load_balancer = site.load_balancer();
    let patience = load_balancer.timeouts.request_head;
    let origin = match header(&arrived, patience).await {
        Ok(told) => Origin::told(peer, told),
        Err(why) => {
            tracing::debug!(%peer, %why, "connection without a PROXY header");
            arrived.worker.stats().no_proxy_header.add(1);
            reset_on_close(&arrived.stream);
            return;
        }
    };
    if !load_balancer.allows(origin.source.ip()) {
        arrived.worker.stats().turned_away.add(1);
        return;
    }
    let protocol = site.listener.protocol;
    // A later configuration is to hold, and this one to be forgotten.
    drop(site);
    match protocol {
        Protocol::Http => {
            let refused = arrived.refused;
            let mut connection = Box::new(arrived.http(origin));
            if refused {
                Box::pin(connection.refuse(&driver::too_many())).await;
            } else if Box::pin(connection.serve()).await {
                connection.serve_http2().await;
            }
        }
        Protocol::Https => {
            if let Some(connection) = arrived.https(origin) {
                Box::pin(connection.serve()).await;
            }
        }
        Protocol::Tcp | Protocol::Tls | Protocol::TlsPassthrough => {
            if let Some(connection) = arrived.tcp(origin) {
                Box::pin(connection.serve()).await;
            }
        }
    }
}

async fn header(arrived: &Arrived, patience: Duration) -> Result<Option<Addresses>, NoHeader> {
    let mut deadline = Instant::now() + patience;
    let mut timer = Timer::default();
    let mut receiving = pin!(receive(&arrived.stream));
    poll_fn(|cx| {
        arrived.registered.control.register(cx.waker());
        if let Poll::Ready(received) = receiving.as_mut().poll(cx) {
            return Poll::Ready(received);
        }
        if arrived.worker.shutdown() >= Shutdown::Idle {
            deadline = deadline.min(Instant::now() + LAST_CALL);
        }
        ready!(timer.poll_until(deadline, cx));
        Poll::Ready(Err(NoHeader::TimedOut))
    })
    .await
}
