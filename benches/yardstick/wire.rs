//! The bytes that go over the wire, known to clients and backend alike.

/// Content of the small response.
pub const SMALL: usize = 65;
/// Content of the large response, and what a large message of TCP is answered by.
pub const LARGE: usize = 256 * 1024;
/// A message of TCP, of a WebSocket or of a gRPC call.
pub const MESSAGE: usize = 64;
/// The first byte of a message of TCP that asks for [`LARGE`] bytes.
pub const ASKS_LARGE: u8 = b'L';

/// The target of a small request.
pub const SMALL_TARGET: &str = "/api/items/42?expand=price";
/// The target of a large one.
pub const LARGE_TARGET: &str = "/large";
/// How many connections were opened?
pub const COUNT_TARGET: &str = "/connections";

/// A WebSocket's opening handshake: key and answer of RFC 6455 section 1.3.
pub const WEB_SOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The answer to that key.
pub const WEB_SOCKET_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What clients send; `connection` is the value of that field, where it is not empty.
pub fn request(host: &str, target: &str, connection: &str) -> Vec<u8> {
    let connection = match connection {
        "" => String::new(),
        value => format!("Connection: {value}\r\n"),
    };
    format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: yardstick\r\n\
         Accept: */*\r\nAccept-Encoding: gzip, br\r\n{connection}\r\n"
    )
    .into_bytes()
}

/// Asks for a WebSocket.
pub fn upgrade(host: &str) -> Vec<u8> {
    format!(
        "GET /socket HTTP/1.1\r\nHost: {host}\r\nUser-Agent: yardstick\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WEB_SOCKET_KEY}\r\n\r\n"
    )
    .into_bytes()
}

/// The answer to that.
pub fn upgraded() -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {WEB_SOCKET_ACCEPT}\r\n\r\n"
    )
    .into_bytes()
}

/// A binary message of a WebSocket (RFC 6455 section 5.2), as clients send it: masked, by zeros.
pub fn frame_of_client() -> Vec<u8> {
    let mut frame = vec![0x82, 0x80 | length_byte(), 0, 0, 0, 0];
    frame.extend([b'm'; MESSAGE]);
    frame
}

/// The same, as servers send it.
pub fn frame_of_server() -> Vec<u8> {
    let mut frame = vec![0x82, length_byte()];
    frame.extend([b'm'; MESSAGE]);
    frame
}

#[allow(clippy::cast_possible_truncation)] // 64
const fn length_byte() -> u8 {
    MESSAGE as u8
}

/// A message of gRPC: not compressed, its length, its bytes.
pub fn grpc_message() -> Vec<u8> {
    let mut message = vec![0, 0, 0, 0, length_byte()];
    message.extend([b'm'; MESSAGE]);
    message
}

/// What the backend answers. `content` is filled up with spaces to `length` bytes.
pub fn response(content: &str, length: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: yardstick\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n\
         Content-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
    );
    let mut response = head.into_bytes();
    let end = response.len() + length;
    response.extend(content.as_bytes());
    response.resize(end, b' ');
    response
}

/// Bytes of the head at the start of `buf`; `None` where it is not here as a whole.
pub fn head(buf: &[u8]) -> Option<usize> {
    Some(memchr::memmem::find(buf, b"\r\n\r\n")? + 4)
}
