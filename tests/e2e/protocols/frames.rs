//! `WebSocket` frames, as far as the tests send any: short and whole ones.

use tokio::io::{AsyncRead, AsyncReadExt};

/// The kinds of frames (RFC 6455 section 5.2).
pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    /// At most 125 bytes.
    pub payload: Vec<u8>,
}

/// Whether a frame is masked: a client's is, a server's is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masked {
    Yes,
    No,
}

const MASK: [u8; 4] = [1, 2, 3, 4];

impl Frame {
    /// Its bytes.
    pub fn bytes(&self, masked: Masked) -> Vec<u8> {
        let length = u8::try_from(self.payload.len()).unwrap();
        assert!(length < 126);
        let mut bytes = vec![0x80 | self.kind];
        match masked {
            Masked::No => {
                bytes.push(length);
                bytes.extend_from_slice(&self.payload);
            }
            Masked::Yes => {
                bytes.push(0x80 | length);
                bytes.extend_from_slice(&MASK);
                let masked = self.payload.iter().zip(MASK.iter().cycle());
                bytes.extend(masked.map(|(byte, mask)| byte ^ mask));
            }
        }
        bytes
    }
}

/// Reads one.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Frame> {
    let kind = stream.read_u8().await? & 0x0f;
    let length = stream.read_u8().await?;
    let mut mask = [0; 4];
    if length & 0x80 != 0 {
        stream.read_exact(&mut mask).await?;
    }
    let mut payload = vec![0; usize::from(length & 0x7f)];
    stream.read_exact(&mut payload).await?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok(Frame { kind, payload })
}
