//! The bytes that go over the wire: one small request, and a response of 65 bytes of content with the
//! fields that servers send.

/// Content of the response.
pub const BODY: usize = 65;

/// What every client sends.
pub fn request(host: &str) -> Vec<u8> {
    format!(
        "GET /api/items/42?expand=price HTTP/1.1\r\nHost: {host}\r\nUser-Agent: yardstick\r\n\
         Accept: */*\r\nAccept-Encoding: gzip, br\r\n\r\n"
    )
    .into_bytes()
}

/// What the backend answers. `content` is filled up to [`BODY`] bytes.
pub fn response(content: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nServer: yardstick\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n\
         Content-Type: text/plain\r\nContent-Length: {BODY}\r\n\r\n{content:<BODY$}"
    )
    .into_bytes()
}

/// Bytes of the message at the start of `buf` whose content is `body` bytes; `None` where it is not here
/// as a whole.
pub fn whole(buf: &[u8], body: usize) -> Option<usize> {
    let head = memchr::memmem::find(buf, b"\r\n\r\n")? + 4;
    (buf.len() >= head + body).then_some(head + body)
}
