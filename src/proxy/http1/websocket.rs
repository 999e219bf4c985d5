//! A WebSocket's opening over HTTP/1 (RFC 6455 section 4.2.2): what its key is answered with. Needed where the
//! other side of the proxy opens them by HTTP/2, which has neither key nor answer (RFC 8441 section 5.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// What RFC 6455 puts behind the key.
const SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of `Sec-WebSocket-Accept` that answers a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSocketAccept([u8; 28]);

impl WebSocketAccept {
    /// The answer to a key; `None` where that is not 16 bytes in base64.
    pub fn to(key: &[u8]) -> Option<Self> {
        if STANDARD.decode(key).ok()?.len() != 16 {
            return None;
        }
        let digest = Sha1::new()
            .chain_update(key)
            .chain_update(SUFFIX)
            .finalize();
        let mut value = [0; 28];
        // 20 bytes are 28 digits.
        STANDARD.encode_slice(digest, &mut value).ok()?;
        Some(Self(value))
    }

    /// The field's value.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Whether the value of `Upgrade` asks for a WebSocket and for nothing else.
pub fn is_websocket(upgrade: &[u8]) -> bool {
    upgrade.trim_ascii().eq_ignore_ascii_case(b"websocket")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_answered_as_in_rfc_6455() {
        let accept = WebSocketAccept::to(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap();
        assert_eq!(accept.as_bytes(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_no_key_has_no_answer() {
        for key in [
            "",
            "short",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ===",
            "c2hvcnQ=",
        ] {
            assert_eq!(WebSocketAccept::to(key.as_bytes()), None, "{key}");
        }
    }

    #[test]
    fn one_protocol_alone_is_a_websocket() {
        for (value, want) in [
            ("websocket", true),
            ("WebSocket ", true),
            ("websocket, x", false),
            ("ws", false),
        ] {
            assert_eq!(is_websocket(value.as_bytes()), want, "{value}");
        }
    }
}
