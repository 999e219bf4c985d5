//! What may happen next on a client's connection, and whether a backend's can be used again: pure state,
//! fed with events by the drivers.
//!
//! An event that cannot come in a state is refused and changes nothing; it would be a fault of the driver.

/// The server's side of one HTTP/1 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientConnection {
    state: State,
    /// The client has closed its side.
    half_closed: bool,
    shutting_down: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between exchanges.
    Idle,
    Exchange {
        request: RequestSide,
        response: ResponseSide,
        /// Nothing said so far forbids another exchange.
        persists: bool,
    },
    Tunnel,
    Lingering,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestSide {
    /// Its body is being read.
    Open,
    Done,
    /// Its body will not be read to the end.
    Abandoned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponseSide {
    /// No final head has been sent.
    Awaited,
    Sending,
    Done,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request's head was read.
    RequestHead {
        /// [`super::RequestHead::keep_alive`].
        keep_alive: bool,
        /// A body follows ([`super::RequestBody::is_empty`] is false).
        has_body: bool,
    },
    /// The request's body was read to its end.
    RequestBodyFinished,
    /// The rest of the request's body will not be read: the response came early, or nobody wants it.
    RequestBodyAbandoned,
    /// The request is malformed, in its head or in its body; or its head or body took too long.
    RequestFault {
        /// The client is to be told, if nothing was sent to it yet.
        answer: Answer,
    },
    /// A response's final head goes out.
    ResponseHead {
        /// It says, or means by its framing, that the connection closes. Must be true where
        /// [`ClientConnection::must_close`] is.
        close: bool,
    },
    /// A 101 goes out, and what follows is a tunnel.
    Switched,
    /// The response's last byte went out.
    ResponseFinished,
    /// The response will never be whole: the backend broke off, or a deadline cut it.
    ResponseCut,
    /// The client closed its side: nothing more will come.
    ClientEof,
    /// The process is going down: the exchange under way, and what the client has already sent, is served.
    ShuttingDown,
    /// The client has closed after a lingering close, or was waited for long enough.
    Lingered,
}

/// Whether a fault is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With an error response.
    Told,
    /// Not at all: the client does not speak HTTP/1, or has said nothing yet.
    Silent,
}

/// What the driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read a request's head, and wait for it as long as a connection may be idle.
    ReadHead,
    /// Read a request's head if bytes of it are already here, in our buffer or the socket's; otherwise
    /// close. So a shutdown answers what was sent before it.
    ReadWhatIsHere,
    /// Go on with the exchange.
    Continue,
    /// Send an error response of our own (reported by [`Event::ResponseHead`] as any other).
    Answer,
    /// Move bytes both ways.
    Tunnel,
    /// Close our side, then read and drop what comes until the client closes, for a limited time: closing
    /// with unread input would reset the connection and erase the response (PITFALLS 42).
    Linger,
    /// Close. Nothing is lost by it.
    Close,
    /// Close with a reset, so that the client can tell that what it has is not whole.
    Reset,
}

/// The event cannot come now. A fault of the driver, not of any peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot come in this state of the connection")]
pub struct IllegalEvent(pub Event);

impl Default for ClientConnection {
    fn default() -> Self {
        Self::new()
    }
}

impl ClientConnection {
    /// A connection just accepted.
    pub fn new() -> Self {
        Self {
            state: State::Idle,
            half_closed: false,
            shutting_down: false,
        }
    }

    /// Whether nothing has happened on it yet.
    pub fn is_fresh(&self) -> bool {
        *self == Self::new()
    }

    /// Whether a response's head that goes out now must say that the connection closes.
    pub fn must_close(&self) -> bool {
        match self.state {
            State::Exchange {
                request, persists, ..
            } => self.shutting_down || !persists || request == RequestSide::Abandoned,
            _ => true,
        }
    }

    /// Whether a request's body is still being read.
    pub fn request_is_open(&self) -> bool {
        matches!(
            self.state,
            State::Exchange {
                request: RequestSide::Open,
                ..
            }
        )
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Takes an event into account and says what comes next.
    pub fn on(&mut self, event: Event) -> Result<Next, IllegalEvent> {
        let illegal = Err(IllegalEvent(event));
        match event {
            Event::ClientEof => Ok(self.on_eof()),
            Event::ShuttingDown => {
                self.shutting_down = true;
                Ok(self.next())
            }
            Event::RequestHead {
                keep_alive,
                has_body,
            } => match self.state {
                State::Idle => {
                    self.state = State::Exchange {
                        request: if has_body {
                            RequestSide::Open
                        } else {
                            RequestSide::Done
                        },
                        response: ResponseSide::Awaited,
                        persists: keep_alive,
                    };
                    Ok(Next::Continue)
                }
                _ => illegal,
            },
            Event::RequestFault { answer } => self.on_fault(answer).ok_or(IllegalEvent(event)),
            Event::Lingered => match self.state {
                State::Lingering => {
                    self.state = State::Closed;
                    Ok(Next::Close)
                }
                _ => illegal,
            },
            _ => self.on_exchange(event),
        }
    }

    /// Events within an exchange.
    fn on_exchange(&mut self, event: Event) -> Result<Next, IllegalEvent> {
        let must_close = self.must_close();
        let State::Exchange {
            request,
            response,
            persists,
        } = &mut self.state
        else {
            return Err(IllegalEvent(event));
        };
        match (event, *request, *response) {
            (Event::RequestBodyFinished, RequestSide::Open, _) => *request = RequestSide::Done,
            (Event::RequestBodyAbandoned, RequestSide::Open, _) => {
                *request = RequestSide::Abandoned;
            }
            (Event::ResponseHead { close }, _, ResponseSide::Awaited) if close || !must_close => {
                *response = ResponseSide::Sending;
                *persists &= !close;
            }
            (Event::Switched, RequestSide::Done, ResponseSide::Awaited) => {
                self.state = State::Tunnel;
            }
            (Event::ResponseFinished, _, ResponseSide::Sending) => *response = ResponseSide::Done,
            (Event::ResponseCut, _, ResponseSide::Awaited) => return Ok(Next::Answer),
            (Event::ResponseCut, _, ResponseSide::Sending) => {
                self.state = State::Closed;
                return Ok(Next::Reset);
            }
            _ => return Err(IllegalEvent(event)),
        }
        Ok(self.settle())
    }

    /// Ends an exchange whose two sides are over.
    fn settle(&mut self) -> Next {
        if let State::Exchange {
            request,
            response: ResponseSide::Done,
            persists,
        } = self.state
        {
            match request {
                RequestSide::Open => {}
                RequestSide::Done if persists => self.state = State::Idle,
                _ if self.half_closed => self.state = State::Closed,
                // Whatever the client has sent beyond this request would turn a close into a reset.
                _ => self.state = State::Lingering,
            }
        }
        self.next()
    }

    /// What comes next as things are.
    pub fn next(self) -> Next {
        match self.state {
            State::Idle if self.shutting_down || self.half_closed => Next::ReadWhatIsHere,
            State::Idle => Next::ReadHead,
            State::Exchange { .. } => Next::Continue,
            State::Tunnel => Next::Tunnel,
            State::Lingering => Next::Linger,
            State::Closed => Next::Close,
        }
    }

    /// A client that half-closes after its request still gets its response, and those to the requests it
    /// has pipelined; one that breaks off within a body gets nothing, for its request was never whole.
    fn on_eof(&mut self) -> Next {
        self.half_closed = true;
        match self.state {
            State::Exchange {
                request: RequestSide::Open,
                response,
                ..
            } => {
                self.state = State::Closed;
                match response {
                    ResponseSide::Sending => Next::Reset,
                    _ => Next::Close,
                }
            }
            State::Lingering => {
                self.state = State::Closed;
                Next::Close
            }
            _ => self.next(),
        }
    }

    /// A malformed or late request: answered where nothing has gone out, else cut.
    fn on_fault(&mut self, answer: Answer) -> Option<Next> {
        let response = match self.state {
            State::Idle => ResponseSide::Awaited,
            State::Exchange {
                request: RequestSide::Open,
                response,
                ..
            } => response,
            _ => return None,
        };
        let (state, next) = match (response, answer) {
            (ResponseSide::Awaited, Answer::Told) => (
                State::Exchange {
                    request: RequestSide::Abandoned,
                    response,
                    persists: false,
                },
                Next::Answer,
            ),
            (ResponseSide::Awaited, Answer::Silent) => (State::Closed, Next::Close),
            (ResponseSide::Sending, _) => (State::Closed, Next::Reset),
            (ResponseSide::Done, _) => (State::Lingering, Next::Linger),
        };
        self.state = state;
        Some(next)
    }
}

/// How an exchange ended on the backend's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Facts that are independent of each other.
pub struct UpstreamEnd {
    /// The request was written to its last byte.
    pub request_sent: bool,
    /// The response was read to its end.
    pub response_finished: bool,
    /// [`super::ResponseHead::keep_alive`].
    pub keep_alive: bool,
    /// Bytes came after the end of the response: they would be taken for the next one.
    pub leftover: bool,
}

/// What becomes of a connection to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Back to the pool.
    Pool,
    /// Closed: somebody would read the wrong thing.
    Close,
}

/// What becomes of a connection to a backend after an exchange.
pub fn after_response(end: UpstreamEnd) -> Reuse {
    if end.request_sent && end.response_finished && end.keep_alive && !end.leftover {
        Reuse::Pool
    } else {
        Reuse::Close
    }
}

#[cfg(test)]
mod tests;
