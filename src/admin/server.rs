//! Serves the admin API and the metrics. Each function runs until it is dropped; the tasks of its
//! connections end with the runtime they run on, so that holds are answered to the very end of lastcall.

use std::io;

use axum::Router;
use axum::middleware;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

use super::guard;
use super::unix_socket::AdminSocket;

/// The admin API on its Unix socket; the socket file is removed when this is dropped.
pub async fn serve_unix(mut socket: AdminSocket, router: Router) -> io::Result<()> {
    let listener = socket.take_listener()?;
    axum::serve(listener, router).await
}

/// The admin API on a TCP port. There is no authentication: the caller binds loopback addresses only.
pub async fn serve_tcp(listener: TcpListener, router: Router) -> io::Result<()> {
    let guarded = router.layer(middleware::from_fn(guard::only_from_here));
    // The last line of a stream must not wait for the one before to be acknowledged.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY not set on an admin connection");
        }
    });
    axum::serve(listener, guarded).await
}

/// Metrics, health and readiness on their own port, for whoever may reach it: nothing can be changed
/// there.
pub async fn serve_observe(listener: TcpListener, router: Router) -> io::Result<()> {
    axum::serve(listener, router).await
}
