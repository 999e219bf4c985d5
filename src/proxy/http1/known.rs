//! The fields the proxy treats specially, recognised once, when a head is parsed.
//!
//! Used by `request`, `response`, `trailers` and `forward`.

/// A field that means something to the proxy, or [`Known::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // Each variant is the field of that name.
pub enum Known {
    Host,
    Date,
    Connection,
    KeepAlive,
    ProxyConnection,
    TransferEncoding,
    ContentLength,
    Te,
    Trailer,
    Upgrade,
    Http2Settings,
    Expect,
    Via,
    MaxForwards,
    Forwarded,
    XForwardedFor,
    XForwardedProto,
    XForwardedHost,
    /// Any other field whose name starts with `X-Forwarded-`: as easily forged as those above.
    XForwardedOther,
    XRealIp,
    XRequestId,
    ProxyAuthenticate,
    ProxyAuthorization,
    /// `Proxy`: CGI hands it to programs as `HTTP_PROXY` (the httpoxy hole).
    Proxy,
    /// A name that becomes one of the above once `_` is read as `-`, which CGI and WSGI servers do: with
    /// `X_Forwarded_For` a client would forge what we replace.
    Lookalike,
    /// Passed on as it is.
    Other,
}

/// The longest name that can be a [`Known::Lookalike`]; covers all names in [`Known::exact`].
const LONGEST_LOOKALIKE: usize = 32;

impl Known {
    /// Which field `name` is; case does not matter.
    pub fn of(name: &[u8]) -> Self {
        match Self::exact(name) {
            Self::Other if name.len() <= LONGEST_LOOKALIKE && name.contains(&b'_') => {
                let mut dashed = [0; LONGEST_LOOKALIKE];
                let dashed = &mut dashed[..name.len()];
                for (to, from) in dashed.iter_mut().zip(name) {
                    *to = if *from == b'_' { b'-' } else { *from };
                }
                match Self::exact(dashed) {
                    Self::Other => Self::Other,
                    _ => Self::Lookalike,
                }
            }
            known => known,
        }
    }

    /// By length first, so that most fields cost no comparison at all.
    fn exact(name: &[u8]) -> Self {
        let candidates: &[(&[u8], Self)] = match name.len() {
            2 => &[(b"te", Self::Te)],
            3 => &[(b"via", Self::Via)],
            4 => &[(b"host", Self::Host), (b"date", Self::Date)],
            5 => &[(b"proxy", Self::Proxy)],
            6 => &[(b"expect", Self::Expect)],
            7 => &[(b"trailer", Self::Trailer), (b"upgrade", Self::Upgrade)],
            9 => &[
                (b"x-real-ip", Self::XRealIp),
                (b"forwarded", Self::Forwarded),
            ],
            10 => &[
                (b"connection", Self::Connection),
                (b"keep-alive", Self::KeepAlive),
            ],
            12 => &[
                (b"x-request-id", Self::XRequestId),
                (b"max-forwards", Self::MaxForwards),
            ],
            14 => &[
                (b"content-length", Self::ContentLength),
                (b"http2-settings", Self::Http2Settings),
            ],
            15 => &[(b"x-forwarded-for", Self::XForwardedFor)],
            16 => &[
                (b"x-forwarded-host", Self::XForwardedHost),
                (b"proxy-connection", Self::ProxyConnection),
            ],
            17 => &[
                (b"transfer-encoding", Self::TransferEncoding),
                (b"x-forwarded-proto", Self::XForwardedProto),
            ],
            18 => &[(b"proxy-authenticate", Self::ProxyAuthenticate)],
            19 => &[(b"proxy-authorization", Self::ProxyAuthorization)],
            _ => &[],
        };
        for (text, known) in candidates {
            if name.eq_ignore_ascii_case(text) {
                return *known;
            }
        }
        match name.split_at_checked(12) {
            Some((prefix, _)) if prefix.eq_ignore_ascii_case(b"x-forwarded-") => {
                Self::XForwardedOther
            }
            _ => Self::Other,
        }
    }

    /// Whether `Connection` can name this field so that it is not passed on. The others are the proxy's own
    /// business on each hop (RFC 9110 section 7.6.1): written anew or dropped, whatever is said of them.
    pub fn is_end_to_end(self) -> bool {
        !matches!(
            self,
            Self::Host
                | Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::TransferEncoding
                | Self::ContentLength
                | Self::Te
                | Self::Trailer
                | Self::Upgrade
                | Self::Http2Settings
                | Self::Expect
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        for (name, known) in [
            ("Host", Known::Host),
            ("hOST", Known::Host),
            ("dAte", Known::Date),
            ("CONTENT-LENGTH", Known::ContentLength),
            ("Transfer-encoding", Known::TransferEncoding),
            ("x-forwarded-for", Known::XForwardedFor),
            ("X-Forwarded-Port", Known::XForwardedOther),
            ("X-Forwarded-Prefix", Known::XForwardedOther),
            ("HTTP2-Settings", Known::Http2Settings),
            ("Proxy-Authorization", Known::ProxyAuthorization),
            ("TE", Known::Te),
            ("Content-Type", Known::Other),
            ("X-Forwarded", Known::Other),
            ("x_custom_field", Known::Other),
        ] {
            assert_eq!(Known::of(name.as_bytes()), known, "{name}");
        }
    }

    #[test]
    fn what_cgi_would_take_for_a_known_field_is_a_lookalike() {
        for name in [
            "X_Forwarded_For",
            "x-forwarded_proto",
            "Content_Length",
            "Transfer_Encoding",
            "X_Real_IP",
            "X_Forwarded_Anything",
        ] {
            assert_eq!(Known::of(name.as_bytes()), Known::Lookalike, "{name}");
        }
    }
}
