//! Which host a TLS client asks for, read from its first message without taking part in the handshake
//! (RFC 8446 section 4.1.2, RFC 6066 section 3), and the alerts that turn it away.
//!
//! A parser of our own, for what is passed on is the endpoint's to judge: a TLS library's reader refuses
//! hellos that it would not serve itself (no signature algorithms, say). Only what decides where the
//! connection goes is read strictly: two readers must not find two host names. Called by `tcp`.

#[cfg(test)]
mod tests;

/// The longest first message that is waited for, in bytes of handshake. Large ones (post-quantum key shares,
/// tickets) are below 4 KiB.
pub const MAX_HELLO: usize = 16 * 1024;

/// Content types of records.
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
/// The type of the handshake's first message.
const CLIENT_HELLO: u8 = 1;
/// The extension with the host name, and the only kind of name it has.
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// The client's first message was read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The host that it asks for, in lower case; absent where it names none.
    pub host: Option<Box<str>>,
}

/// The bytes are no first message of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// They are not TLS at all: there is nobody to be told.
    #[error("the client does not speak TLS")]
    NotTls,
    /// They begin as TLS does.
    #[error("the client's first TLS message is malformed: {0}")]
    Malformed(&'static str),
    /// It is longer than [`MAX_HELLO`].
    #[error("the client's first TLS message is longer than {MAX_HELLO} bytes")]
    TooLong,
}

/// Why a client is turned away, as TLS says it (RFC 8446 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// Its first message makes no sense.
    DecodeError,
    /// What serves this host is not there now.
    InternalError,
    /// Nothing serves this host.
    UnrecognizedName,
}

impl Alert {
    /// The alert as the one record that is sent.
    pub fn record(self) -> [u8; 7] {
        let description = match self {
            Alert::DecodeError => 50,
            Alert::InternalError => 80,
            Alert::UnrecognizedName => 112,
        };
        // TLS 1.2 on the record, as ever; fatal.
        [ALERT, 3, 3, 0, 2, 2, description]
    }
}

/// Reads the first message of a client from the `bytes` it sent so far; `None` where more has to come.
pub fn parse(bytes: &[u8]) -> Result<Option<Hello>, Fault> {
    let mut rest = bytes;
    let Some((first, is_whole)) = next_record(&mut rest)? else {
        return Ok(None);
    };
    // Almost always the message is one record, or the begin of one: then nothing is copied.
    match message(first)? {
        Some(message) => client_hello(message).map(Some),
        None if !is_whole => Ok(None),
        None => {
            let mut joined = first.to_vec();
            while let Some((piece, is_whole)) = next_record(&mut rest)? {
                joined.extend_from_slice(piece);
                if let Some(message) = message(&joined)? {
                    return client_hello(message).map(Some);
                }
                if !is_whole {
                    break;
                }
            }
            Ok(None)
        }
    }
}

/// What is here of the next record's content, and whether that is all of it; `None` where there is nothing.
fn next_record<'a>(rest: &mut &'a [u8]) -> Result<Option<(&'a [u8], bool)>, Fault> {
    match rest.first() {
        None => return Ok(None),
        Some(&HANDSHAKE) => {}
        Some(_) => return Err(Fault::NotTls),
    }
    if rest.get(1).is_some_and(|major| *major != 3) {
        return Err(Fault::NotTls);
    }
    let Some((head, content)) = rest.split_at_checked(5) else {
        *rest = &[];
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
    // RFC 8446 section 5.1: neither empty nor longer.
    if length == 0 || length > 1 << 14 {
        return Err(Fault::Malformed("a record of no or of too many bytes"));
    }
    let here = length.min(content.len());
    let (content, behind) = content.split_at(here);
    *rest = behind;
    Ok(Some((content, here == length)))
}

/// The body of the handshake message that `joined` begins with, once it is whole.
fn message(joined: &[u8]) -> Result<Option<&[u8]>, Fault> {
    if joined.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(Fault::Malformed("it is no client's first message"));
    }
    let Some((head, body)) = joined.split_at_checked(4) else {
        return Ok(None);
    };
    let length = usize::from(head[1]) << 16 | usize::from(u16::from_be_bytes([head[2], head[3]]));
    if length + 4 > MAX_HELLO {
        return Err(Fault::TooLong);
    }
    Ok(body.get(..length))
}

fn client_hello(body: &[u8]) -> Result<Hello, Fault> {
    let mut rest = Rest(body);
    // Version and random.
    rest.take(2 + 32)?;
    let session_id = rest.vector8()?;
    if session_id.len() > 32 {
        return Err(Fault::Malformed("a session id of more than 32 bytes"));
    }
    let _cipher_suites = rest.vector16()?;
    let _compression_methods = rest.vector8()?;
    let mut host = None;
    if !rest.is_empty() {
        let mut extensions = Rest(rest.vector16()?);
        while !extensions.is_empty() {
            let kind = extensions.number16()?;
            let data = extensions.vector16()?;
            if kind == SERVER_NAME && host.replace(host_name(data)?).is_some() {
                return Err(Fault::Malformed("two host names"));
            }
        }
    }
    if !rest.is_empty() {
        return Err(Fault::Malformed("bytes behind the extensions"));
    }
    Ok(Hello { host })
}

/// The extension has one name of one kind; what else it was meant for was never specified.
fn host_name(data: &[u8]) -> Result<Box<str>, Fault> {
    let mut rest = Rest(data);
    let mut names = Rest(rest.vector16()?);
    let kind = names.take(1)?;
    let name = names.vector16()?;
    if kind != [HOST_NAME] || !names.is_empty() || !rest.is_empty() {
        return Err(Fault::Malformed("not one host name"));
    }
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    if name.is_empty() || name.len() > 255 || !name.iter().all(plain) {
        return Err(Fault::Malformed(
            "a host name with characters that none has",
        ));
    }
    let text = String::from_utf8_lossy(name);
    Ok(text.to_ascii_lowercase().into())
}

/// What is left to read.
struct Rest<'a>(&'a [u8]);

const SHORT: Fault = Fault::Malformed("it ends within a field");

impl<'a> Rest<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number16(&mut self) -> Result<u16, Fault> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Bytes behind a length of one byte.
    fn vector8(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.take(1)?[0];
        self.take(length.into())
    }

    /// Bytes behind a length of two.
    fn vector16(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.number16()?;
        self.take(length.into())
    }
}
