//! Where the admin API's streams come from: a Unix socket here, a pod's loopback in `cluster`. The client
//! dials anew for each call.

use std::fmt::Debug;
use std::io;
use std::path::PathBuf;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use super::Failure;

/// Bytes to and from lastcall.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A way to lastcall's admin API.
pub(super) trait Dial: Debug + Send + Sync {
    /// A new connection.
    fn dial(&self) -> BoxFuture<'_, Result<Dialled, Failure>>;

    /// Where that is, and why it is asked there: for messages.
    fn place(&self) -> String;

    /// What to look at where nobody answers: for messages.
    fn advice(&self) -> &'static str;

    /// Nobody answers.
    fn unreachable(&self, why: &str) -> Failure {
        Failure::Unreachable {
            place: self.place(),
            why: why.to_owned(),
            advice: self.advice(),
        }
    }

    /// The connection was lost before the answer was complete.
    fn lost(&self, why: &str) -> Failure {
        Failure::Lost {
            place: self.place(),
            why: why.to_owned(),
        }
    }
}

/// A connection.
pub(super) struct Dialled {
    pub(super) stream: Box<dyn Stream>,
    /// What went wrong on the way, known only after the stream has ended; nothing where nothing did.
    pub(super) trouble: BoxFuture<'static, Option<String>>,
}

/// lastcall's admin socket on this machine.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) path: PathBuf,
    /// Why this one.
    pub(super) because: String,
}

impl Dial for Socket {
    fn dial(&self) -> BoxFuture<'_, Result<Dialled, Failure>> {
        Box::pin(async {
            let stream = UnixStream::connect(&self.path)
                .await
                .map_err(|error| self.not_connected(&error))?;
            Ok(Dialled {
                stream: Box::new(stream),
                trouble: Box::pin(std::future::ready(None)),
            })
        })
    }

    fn place(&self) -> String {
        format!("{} ({})", self.path.display(), self.because)
    }

    fn advice(&self) -> &'static str {
        "is lastcall standalone running? --admin-socket (or LASTCALL_ADMIN_SOCKET) says where its admin socket is, --context or --kubeconfig asks lastcall in a cluster"
    }
}

impl Socket {
    fn not_connected(&self, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Failure::Permission {
                place: self.place(),
            },
            io::ErrorKind::NotFound => self.unreachable("there is no such socket"),
            io::ErrorKind::ConnectionRefused => {
                self.unreachable("the process that made it has ended")
            }
            _ => self.unreachable(&error.to_string()),
        }
    }
}
