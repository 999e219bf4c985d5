//! A connection that a proxy introduces: first its PROXY header, then whatever its listener speaks, on one
//! task. Others never come here, and pay nothing for it.

use std::net::SocketAddr;
use std::rc::Rc;

use super::accept::Arrived;
use super::view::Site;
use crate::model::Protocol;
use crate::proxy::origin::Origin;
use crate::proxy::proxy_protocol::receive;
use crate::proxy::tunnel::reset_on_close;

/// Reads the header of a connection that `peer` made, and serves whom it speaks for. Without one it is reset:
/// what it would say is not known to be anybody's.
pub(super) async fn serve(arrived: Arrived, site: Rc<Site>, peer: SocketAddr) {
    let load_balancer = site.load_balancer();
    let patience = load_balancer.timeouts.request_head;
    let origin = match receive(&arrived.stream, patience).await {
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
                Box::pin(connection.refuse()).await;
            } else {
                Box::pin(connection.serve()).await;
            }
        }
        Protocol::Tcp | Protocol::TlsPassthrough => {
            if let Some(connection) = arrived.tcp(origin) {
                Box::pin(connection.serve()).await;
            }
        }
    }
}
