//! One side of TLS as `rustls` speaks it over buffers that are ours: [`Server`] towards clients, [`Client`]
//! towards endpoints. Called by `stream`, which has the socket.

use rustls::CommonState;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::UnbufferedStatus;

/// Towards a client.
pub type Server = UnbufferedServerConnection;
/// Towards an endpoint.
pub type Client = UnbufferedClientConnection;

/// What `rustls` does alike on both sides and has no trait for.
pub trait Session {
    /// Its own data.
    type Data;

    /// Takes in what is at the start of `incoming`, as far as it can.
    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;

    /// What the handshake has come to.
    fn state(&self) -> &CommonState;
}

impl Session for Server {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn state(&self) -> &CommonState {
        self
    }
}

impl Session for Client {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn state(&self) -> &CommonState {
        self
    }
}
