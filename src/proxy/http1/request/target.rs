//! The request target: origin, absolute and asterisk form (RFC 9112 section 3.2). The authority form is
//! for CONNECT, which is not served.
//!
//! Used by `request`.

use super::super::head::Span;
use super::authority::Authority;
use super::{Method, RequestFault};

/// How a target was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `*`, for OPTIONS.
    Asterisk,
}

/// A target, taken apart.
pub(super) struct Target {
    pub form: TargetForm,
    /// From the path on; empty where an absolute target ends with its authority, and without a leading
    /// slash where a query follows the authority.
    pub path_and_query: Span,
    /// The path alone; may be empty in absolute form.
    pub path: Span,
    /// The authority of an absolute target, and its scheme's port.
    pub authority: Option<(Span, Authority, u16)>,
}

/// Takes apart the target in `span`.
pub(super) fn parse(buf: &[u8], span: Span, method: Method) -> Result<Target, RequestFault> {
    let text = span.of(buf);
    for byte in text {
        match byte {
            b'#' => return Err(RequestFault::TargetFragment),
            b'!'..=b'~' => {}
            _ => return Err(RequestFault::TargetByte),
        }
    }
    if text == b"*" {
        return if method == Method::Options {
            Ok(Target {
                form: TargetForm::Asterisk,
                path_and_query: span,
                path: span,
                authority: None,
            })
        } else {
            Err(RequestFault::AsteriskMethod)
        };
    }
    if text.first() == Some(&b'/') {
        return Ok(with_path(TargetForm::Origin, buf, span, None));
    }
    absolute(buf, span)
}

fn absolute(buf: &[u8], span: Span) -> Result<Target, RequestFault> {
    let text = span.of(buf);
    let Some(scheme_len) = memchr::memmem::find(text, b"://") else {
        return Err(RequestFault::TargetForm);
    };
    let scheme = &text[..scheme_len];
    let default_port = if scheme.eq_ignore_ascii_case(b"http") {
        80
    } else if scheme.eq_ignore_ascii_case(b"https") {
        443
    } else {
        return Err(RequestFault::TargetScheme);
    };
    let from = scheme_len + 3;
    let to = text[from..]
        .iter()
        .position(|b| matches!(b, b'/' | b'?'))
        .map_or(text.len(), |at| from + at);
    let whole = span.part(from, to);
    if memchr::memchr(b'@', whole.of(buf)).is_some() {
        return Err(RequestFault::TargetUserInfo);
    }
    let authority = Authority::parse(whole.of(buf)).ok_or(RequestFault::HostInvalid)?;
    let rest = span.part(to, text.len());
    Ok(with_path(
        TargetForm::Absolute,
        buf,
        rest,
        Some((whole, authority, default_port)),
    ))
}

fn with_path(
    form: TargetForm,
    buf: &[u8],
    path_and_query: Span,
    authority: Option<(Span, Authority, u16)>,
) -> Target {
    let text = path_and_query.of(buf);
    let path_len = memchr::memchr(b'?', text).unwrap_or(text.len());
    Target {
        form,
        path_and_query,
        path: path_and_query.part(0, path_len),
        authority,
    }
}
