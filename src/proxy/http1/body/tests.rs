//! Bodies, plain and strange, at every cut.

use super::*;

/// Reads all of `input`, at most `step` bytes a call: content, trailers, bytes left over.
fn read(
    mut decoder: BodyDecoder,
    input: &[u8],
    step: usize,
) -> Result<(Vec<u8>, Vec<String>, usize), BodyFault> {
    let (mut data, mut at) = (Vec::new(), 0);
    while at < input.len() && !decoder.is_finished() {
        let end = input.len().min(at + step);
        let piece = &input[at..end];
        let got = decoder.decode(piece)?;
        assert!(got.consumed > 0, "no progress");
        data.extend_from_slice(&piece[got.data]);
        at += got.consumed;
    }
    decoder.finish_at_eof()?;
    let trailers = decoder
        .trailers()
        .iter()
        .map(|(name, value)| {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            format!("{}={}", text(name), text(value))
        })
        .collect();
    Ok((data, trailers, input.len() - at))
}

fn chunked(input: &[u8]) -> Result<(Vec<u8>, Vec<String>, usize), BodyFault> {
    let whole = read(RequestBody::Chunked.into(), input, usize::MAX / 2);
    for step in 1..input.len().min(40) {
        assert_eq!(read(RequestBody::Chunked.into(), input, step), whole);
    }
    whole
}

#[test]
fn a_length_is_kept_to_the_byte() {
    let decoder = || BodyDecoder::from(RequestBody::Length(5));
    assert_eq!(
        read(decoder(), b"hellorest", 100).unwrap(),
        (b"hello".to_vec(), vec![], 4)
    );
    assert_eq!(
        read(decoder(), b"hell", 1).unwrap_err(),
        BodyFault::Truncated
    );
    assert!(BodyDecoder::from(RequestBody::Length(0)).is_finished());
    assert!(BodyDecoder::from(ResponseBody::None).is_finished());
}

#[test]
fn the_end_of_the_connection_ends_a_body_without_length() {
    let decoder = BodyDecoder::from(ResponseBody::UntilClose);
    assert_eq!(
        read(decoder, b"abc", 1).unwrap(),
        (b"abc".to_vec(), vec![], 0)
    );
}

#[test]
fn chunks_extensions_and_trailers_are_read_at_every_cut() {
    let input = b"5;a=b\r\nhello\r\n06\r\n world\r\n0;z\r\nX-Sum: 1\r\nHost: evil\r\n\
        Content-Length: 5\r\nx-b:2 \r\n\r\nGET";
    let expected = (
        b"hello world".to_vec(),
        vec!["X-Sum=1".to_owned(), "x-b=2".to_owned()],
        3,
    );
    assert_eq!(chunked(input).unwrap(), expected);
    assert_eq!(chunked(b"0\r\n\r\n").unwrap(), (vec![], vec![], 0));
}

#[test]
fn strange_chunks_are_refused() {
    use BodyFault::{
        ChunkEnd, ChunkLineEnd, ChunkSize, ChunkSizeTooLarge, ExtensionByte, Trailer, Truncated,
    };
    for (input, fault) in [
        (&b"\r\n"[..], ChunkSize),
        (b";a\r\n", ChunkSize),
        (b"+5\r\nhello\r\n0\r\n\r\n", ChunkSize),
        (b"-5\r\nhello\r\n0\r\n\r\n", ChunkSize),
        (b"0x5\r\nhello\r\n0\r\n\r\n", ChunkSize),
        (b" 5\r\nhello\r\n0\r\n\r\n", ChunkSize),
        (b"5 \r\nhello\r\n0\r\n\r\n", ChunkSize),
        (b"5 ;a\r\nhello\r\n0\r\n\r\n", ChunkSize),
        (b"5_0\r\nhello", ChunkSize),
        (b"g\r\n", ChunkSize),
        (b"00000000000000005\r\nhello", ChunkSizeTooLarge),
        (b"ffffffffffffffff\r\n", ChunkSizeTooLarge),
        (b"10000000000000000\r\n", ChunkSizeTooLarge),
        (b"5\nhello\r\n0\r\n\r\n", ChunkLineEnd),
        (b"5\rhello\r\n0\r\n\r\n", ChunkLineEnd),
        (b"5;a\nhello\r\n0\r\n\r\n", ChunkLineEnd),
        (b"5;a\rb\r\nhello\r\n0\r\n\r\n", ChunkLineEnd),
        (b"5;a\0\r\nhello\r\n0\r\n\r\n", ExtensionByte),
        (b"5\r\nhello!\r\n0\r\n\r\n", ChunkEnd),
        (b"5\r\nhello\n0\r\n\r\n", ChunkEnd),
        (b"5\r\nhello0\r\n\r\n", ChunkEnd),
        (b"0\r\n\n", Trailer(Syntax::BareLf)),
        (b"0\r\nA: b\n\r\n", Trailer(Syntax::BareLf)),
        (b"0\r\nA: b\r\n\n", Trailer(Syntax::BareLf)),
        (b"0\r\n\rx", Trailer(Syntax::BareCr)),
        (b"0\r\nA: b\r\n c\r\n\r\n", Trailer(Syntax::Folded)),
        (b"0\r\nA : b\r\n\r\n", Trailer(Syntax::SpaceBeforeColon)),
        (b"0\r\nA: b\0\r\n\r\n", Trailer(Syntax::ControlByte)),
        (b"0\r\nGET / HTTP/1.1\r\n\r\n", Trailer(Syntax::NoColon)),
        (b"5\r\nhell", Truncated),
        (b"5\r\nhello\r\n", Truncated),
        (b"5\r\nhello\r\n0\r\n", Truncated),
        (b"", Truncated),
    ] {
        let text = String::from_utf8_lossy(input);
        assert_eq!(chunked(input).unwrap_err(), fault, "{text:?}");
    }
}

#[test]
fn a_flood_of_framing_is_refused() {
    let long = [b"1;".to_vec(), vec![b'x'; 300]].concat();
    assert_eq!(chunked(&long).unwrap_err(), BodyFault::ExtensionTooLong);
    let many = [b"1;".to_vec(), vec![b'x'; 200], b"\r\na\r\n".to_vec()]
        .concat()
        .repeat(200);
    let decoder = || RequestBody::Chunked.into();
    assert_eq!(
        read(decoder(), &many, 1000).unwrap_err(),
        BodyFault::MostlyFraming
    );
    let trailer = [b"0\r\nA: ".to_vec(), vec![b'x'; 9000]].concat();
    assert_eq!(
        read(decoder(), &trailer, 100).unwrap_err(),
        BodyFault::TrailersTooLarge
    );
    let trailers = [b"0\r\n".to_vec(), b"A: b\r\n".repeat(65), b"\r\n".to_vec()].concat();
    assert_eq!(
        read(decoder(), &trailers, 100).unwrap_err(),
        BodyFault::TooManyTrailers
    );
}

#[test]
fn a_fault_stays_a_fault() {
    let mut decoder = BodyDecoder::from(RequestBody::Chunked);
    assert!(decoder.decode(b"x").is_err());
    assert_eq!(decoder.decode(b"0\r\n\r\n"), Err(BodyFault::ChunkSize));
    assert_eq!(decoder.finish_at_eof(), Err(BodyFault::ChunkSize));
}
