//! The codec allocates nothing for an ordinary exchange, once its caller's buffers have grown.

use std::hint::black_box;
use std::net::IpAddr;

use lastcall::model::Limits;
use lastcall::proxy::http1::{
    AskedBy, BodyDecoder, CHUNK_END, ClientFields, Event, ForwardContext, HeadLimits, Method, Next,
    ResponseContext, ResponseFraming, Version, chunk_head, forward_request, forward_response,
    last_chunk, parse_request, parse_response,
};

const REQUEST: &[u8] = b"POST /api/orders?page=2 HTTP/1.1\r\nHost: shop.example.com\r\n\
    User-Agent: curl/8.5.0\r\nAccept: */*\r\nCookie: session=abcdef; theme=dark\r\n\
    Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\
    Keep-Alive: timeout=5\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

/// One exchange: the request to the backend, the response to the client.
fn exchange(
    client: &ClientFields,
    fields: &mut Vec<lastcall::proxy::http1::Field>,
    out: &mut Vec<u8>,
) {
    out.clear();
    let mut connection = lastcall::proxy::http1::ClientConnection::new();
    let limits = HeadLimits::from(&Limits::default());
    let (head, len) = parse_request(REQUEST, &limits, fields).unwrap().unwrap();
    let keep_alive = head.keep_alive;
    let event = Event::RequestHead {
        keep_alive,
        has_body: !head.body.is_empty(),
    };
    assert_eq!(connection.on(event), Ok(Next::Continue));
    assert_eq!(head.host_name(REQUEST), "shop.example.com");
    let context = ForwardContext {
        client,
        request_id: "0123",
        default_host: "",
        pass_expect: true,
        filtered: None,
    };
    forward_request(&head, REQUEST, fields, &context, out);
    pass_body(head.body.into(), &REQUEST[len..], out);
    connection.on(Event::RequestBodyFinished).unwrap();

    let asked = AskedBy {
        method: Method::Post,
        upgrade: false,
    };
    let (head, len) = parse_response(RESPONSE, asked, &HeadLimits::RESPONSE, fields)
        .unwrap()
        .unwrap();
    let framing = ResponseFraming::choose(&head, Version::Http11);
    let context = ResponseContext {
        client: Version::Http11,
        close: false,
        framing,
        date: "now",
        edits: None,
    };
    connection.on(Event::ResponseHead { close: false }).unwrap();
    forward_response(&head, RESPONSE, fields, &context, out);
    pass_body(head.body.into(), &RESPONSE[len..], out);
    assert_eq!(connection.on(Event::ResponseFinished), Ok(Next::ReadHead));
}

fn pass_body(mut decoder: BodyDecoder, mut input: &[u8], out: &mut Vec<u8>) {
    while !decoder.is_finished() {
        let got = decoder.decode(input).unwrap();
        let data = &input[got.data];
        if !data.is_empty() {
            chunk_head(data.len() as u64, out);
            out.extend_from_slice(data);
            out.extend_from_slice(CHUNK_END);
        }
        input = &input[got.consumed..];
    }
    last_chunk(decoder.trailers().iter(), out);
}

#[test]
fn an_ordinary_exchange_allocates_nothing() {
    let client = ClientFields::new(IpAddr::from([192, 0, 2, 1]), "http", false);
    let (mut fields, mut out) = (Vec::new(), Vec::new());
    exchange(&client, &mut fields, &mut out);
    let counted = allocation_counter::measure(|| {
        for _ in 0..10 {
            exchange(&client, &mut fields, &mut out);
            black_box(&out);
        }
    });
    assert_eq!(counted.count_total, 0);
    assert!(out.ends_with(b"0\r\n\r\n"));
}
