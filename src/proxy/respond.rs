//! The only place that makes a response of our own: small problem+json bodies (RFC 9457).

/// A response of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// What went wrong, for the person at the client.
    pub detail: String,
    /// After how many seconds it is worth asking again.
    pub retry_after: Option<u32>,
    /// A further field line.
    pub field: Option<Box<str>>,
    /// What a call of gRPC is told, where its status says more than HTTP's.
    pub grpc_status: Option<u16>,
}

impl Answer {
    /// A status and what went wrong.
    pub fn new(status: u16, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            retry_after: None,
            field: None,
            grpc_status: None,
        }
    }

    /// Where it answers a call of gRPC, with this status.
    #[must_use]
    pub fn for_calls(mut self, grpc_status: u16) -> Self {
        self.grpc_status = Some(grpc_status);
        self
    }

    /// Worth asking again after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// With a further field line, such as `Allow: GET`.
    #[must_use]
    pub fn with_field(mut self, line: impl Into<Box<str>>) -> Self {
        self.field = Some(line.into());
        self
    }

    /// Writes it whole. `body` is false for HEAD; `close` says that the connection ends with it.
    pub fn write(&self, body: bool, close: bool, out: &mut Vec<u8>) {
        use std::io::Write;
        let title = reason(self.status);
        let problem = serde_json::json!({
            "type": "about:blank",
            "title": title,
            "status": self.status,
            "detail": self.detail,
        });
        // Only what went wrong is worth a body.
        let content = if self.status < 400 {
            String::new()
        } else {
            problem.to_string()
        };
        // Writing into a Vec cannot fail.
        let _ = write!(out, "HTTP/1.1 {} {title}\r\n", self.status);
        if !content.is_empty() {
            out.extend_from_slice(b"Content-Type: application/problem+json\r\n");
        }
        let _ = write!(out, "Content-Length: {}\r\n", content.len());
        if let Some(seconds) = self.retry_after {
            let _ = write!(out, "Retry-After: {seconds}\r\n");
        }
        if let Some(line) = &self.field {
            let _ = write!(out, "{line}\r\n");
        }
        if close {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
        if body {
            out.extend_from_slice(content.as_bytes());
        }
    }
}

/// The reason phrases of RFC 9110 for the statuses we send.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_well_formed_response() {
        let mut out = Vec::new();
        Answer::new(503, "no \"endpoint\"")
            .retry_after(1)
            .write(true, true, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
        assert!(head.contains("\r\nRetry-After: 1") && head.contains("\r\nConnection: close"));
        assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())));
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["detail"], "no \"endpoint\"");
        assert_eq!(problem["status"], 503);
    }

    #[test]
    fn head_gets_the_length_without_the_body() {
        let mut out = Vec::new();
        Answer::new(404, "x").write(false, false, &mut out);
        assert!(
            out.ends_with(b"\r\n\r\n")
                && !out.windows(16).any(|w| w.starts_with(b"Content-Length: 0"))
        );
    }
}
