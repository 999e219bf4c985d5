//! Reads whole connections with the codec, as a driver would, fed in any pieces; and writes what the next
//! hop would be sent. Shared by the tests here and by the fuzz targets.

use std::net::IpAddr;
use std::ops::Range;

use lastcall::model::Limits;
use lastcall::proxy::http1::{
    AskedBy, BodyDecoder, BodyFault, CHUNK_END, ClientFields, Field, ForwardContext, HeadLimits,
    RequestBody, RequestFault, RequestHead, ResponseContext, ResponseFault, ResponseFraming,
    ResponseHead, Span, Version, chunk_head, forward_request, forward_response, last_chunk,
    parse_request, parse_response,
};

/// Name and value of a field.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A request, read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// As written.
    pub method: Vec<u8>,
    /// In origin form.
    pub target: Vec<u8>,
    pub host: Vec<u8>,
    pub version: Version,
    pub framing: RequestBody,
    pub keep_alive: bool,
    pub expects_continue: bool,
    pub fields: Vec<Pair>,
    pub body: Vec<u8>,
    pub trailers: Vec<Pair>,
}

/// How reading a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Between two requests, nothing left over.
    Clean,
    /// The client wanted no more; so many bytes were not looked at.
    Closed(usize),
    /// Within a head.
    InHead,
    /// Within a body.
    InBody,
    Head(RequestFault),
    Body(BodyFault),
}

/// The bytes of a connection, cut into pieces.
pub struct Wire<'a> {
    input: &'a [u8],
    cuts: Vec<usize>,
    buffer: Vec<u8>,
    fed: usize,
    limits: HeadLimits,
}

impl<'a> Wire<'a> {
    /// `cuts` are positions in `input`, in any order.
    pub fn new(input: &'a [u8], cuts: &[usize]) -> Self {
        let mut cuts: Vec<_> = cuts.iter().copied().filter(|c| *c < input.len()).collect();
        cuts.push(input.len());
        cuts.sort_unstable();
        cuts.dedup();
        cuts.reverse();
        Self {
            input,
            cuts,
            buffer: Vec::new(),
            fed: 0,
            limits: HeadLimits::from(&Limits::default()),
        }
    }

    /// What we pass on, in one piece: a little longer than what came, so the next hop allows more.
    pub fn passed_on(input: &'a [u8]) -> Self {
        let mut wire = Self::new(input, &[]);
        wire.limits.head_bytes += 4096;
        wire.limits.header_count += 16;
        wire
    }

    /// Appends the next piece; false at the end.
    fn feed(&mut self) -> bool {
        let Some(cut) = self.cuts.pop() else {
            return false;
        };
        self.buffer.extend_from_slice(&self.input[self.fed..cut]);
        self.fed = cut;
        true
    }

    fn unread(&self) -> usize {
        self.buffer.len() + self.input.len() - self.fed
    }
}

fn pairs(buf: &[u8], fields: &[Field]) -> Vec<Pair> {
    let text = |span: Span| span.of(buf).to_vec();
    fields
        .iter()
        .map(|field| (text(field.name), text(field.value)))
        .collect()
}

/// Reads all requests; the second is what backends are sent, one message each, a cut one included.
pub fn read_requests(wire: &mut Wire<'_>) -> (Vec<Request>, Vec<Vec<u8>>, End) {
    let (mut requests, mut sent) = (Vec::new(), Vec::new());
    let mut fields = Vec::new();
    loop {
        let (head, consumed) = match parse_request(&wire.buffer, &wire.limits, &mut fields) {
            Ok(Some(parsed)) => parsed,
            Ok(None) if wire.feed() => continue,
            Ok(None) if wire.buffer.is_empty() => return (requests, sent, End::Clean),
            Ok(None) => return (requests, sent, End::InHead),
            Err(fault) => return (requests, sent, End::Head(fault)),
        };
        assert!(consumed <= wire.buffer.len() && consumed > 0);
        let mut request = take_head(&head, &wire.buffer, &fields);
        let mut out = Vec::new();
        forward_request(
            &head,
            &wire.buffer,
            &fields,
            &context(&stranger()),
            &mut out,
        );
        wire.buffer.drain(..consumed);
        let body = read_body(
            wire,
            head.body.into(),
            head.body == RequestBody::Chunked,
            &mut out,
        );
        sent.push(out);
        match body {
            Ok(Some((data, trailers))) => (request.body, request.trailers) = (data, trailers),
            Ok(None) => return (requests, sent, End::InBody),
            Err(fault) => return (requests, sent, End::Body(fault)),
        }
        requests.push(request);
        if !head.keep_alive {
            return (requests, sent, End::Closed(wire.unread()));
        }
    }
}

/// A client that nobody trusts.
pub fn stranger() -> ClientFields {
    ClientFields::new(IpAddr::from([192, 0, 2, 1]), "http", false)
}

/// What a backend is told.
pub fn context(client: &ClientFields) -> ForwardContext<'_> {
    ForwardContext {
        client,
        request_id: "id",
        default_host: "10.0.0.7:8080",
        pass_expect: true,
        filtered: None,
    }
}

fn take_head(head: &RequestHead, buf: &[u8], fields: &[Field]) -> Request {
    let (prefix, target) = head.origin_form(buf);
    Request {
        method: head.method_text.of(buf).to_vec(),
        target: [prefix, target].concat(),
        host: head.host.of(buf).to_vec(),
        version: head.version,
        framing: head.body,
        keep_alive: head.keep_alive,
        expects_continue: head.expects_continue,
        fields: pairs(buf, fields),
        body: Vec::new(),
        trailers: Vec::new(),
    }
}

/// Content and trailers; `None` where the bytes end first. `out` gets the body as it is passed on.
type Body = Result<Option<(Vec<u8>, Vec<Pair>)>, BodyFault>;

fn read_body(
    wire: &mut Wire<'_>,
    mut decoder: BodyDecoder,
    chunked: bool,
    out: &mut Vec<u8>,
) -> Body {
    let mut data = Vec::new();
    while !decoder.is_finished() {
        let got = decoder.decode(&wire.buffer)?;
        assert!(got.consumed <= wire.buffer.len());
        let Range { start, end } = got.data;
        assert!(start <= end && end <= got.consumed);
        let piece = &wire.buffer[start..end];
        if !piece.is_empty() {
            data.extend_from_slice(piece);
            pass(piece, chunked, out);
        }
        assert_eq!(got.finished, decoder.is_finished());
        wire.buffer.drain(..got.consumed);
        if wire.buffer.is_empty() && !decoder.is_finished() && !wire.feed() {
            if decoder.finish_at_eof().is_err() {
                return Ok(None);
            }
            break;
        }
    }
    if chunked {
        last_chunk(decoder.trailers().iter(), out);
    }
    let trailers = decoder.trailers().iter();
    let trailers = trailers.map(|(name, value)| (name.to_vec(), value.to_vec()));
    Ok(Some((data, trailers.collect())))
}

fn pass(piece: &[u8], chunked: bool, out: &mut Vec<u8>) {
    if chunked {
        chunk_head(piece.len() as u64, out);
    }
    out.extend_from_slice(piece);
    if chunked {
        out.extend_from_slice(CHUNK_END);
    }
}

/// A response, read to its end, and the interim ones before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub interim: Vec<u16>,
    pub status: u16,
    pub reason: Vec<u8>,
    pub fields: Vec<Pair>,
    pub body: Vec<u8>,
    pub trailers: Vec<Pair>,
    pub keep_alive: bool,
    /// Bytes after its end.
    pub left: usize,
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    Head(ResponseFault),
    NoHead,
    Body(BodyFault),
    NoEnd,
}

/// Reads a response; the second is what a client of HTTP/1.1 is sent, heads and body, whole or not.
pub fn read_response(wire: &mut Wire<'_>, asked: AskedBy) -> (Result<Response, Broken>, Vec<u8>) {
    let (mut interim, mut fields, mut out) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let parsed = parse_response(&wire.buffer, asked, &HeadLimits::RESPONSE, &mut fields);
        let (head, consumed) = match parsed {
            Ok(Some(parsed)) => parsed,
            Ok(None) if wire.feed() => continue,
            Ok(None) => return (Err(Broken::NoHead), out),
            Err(fault) => return (Err(Broken::Head(fault)), out),
        };
        assert!(consumed <= wire.buffer.len() && consumed > 0);
        let framing = ResponseFraming::choose(&head, Version::Http11);
        let context = ResponseContext {
            client: Version::Http11,
            close: framing.closes(),
            framing,
            date: "",
            edits: None,
        };
        forward_response(&head, &wire.buffer, &fields, &context, &mut out);
        let mut response = take_response(&head, &wire.buffer, &fields);
        wire.buffer.drain(..consumed);
        if head.is_interim() {
            interim.push(head.status);
            continue;
        }
        response.interim = interim;
        let chunked = framing == ResponseFraming::Chunked;
        let end = match read_body(wire, head.body.into(), chunked, &mut out) {
            Ok(Some((data, trailers))) => {
                (response.body, response.trailers) = (data, trailers);
                response.left = wire.unread();
                Ok(response)
            }
            Ok(None) => Err(Broken::NoEnd),
            Err(fault) => Err(Broken::Body(fault)),
        };
        return (end, out);
    }
}

fn take_response(head: &ResponseHead, buf: &[u8], fields: &[Field]) -> Response {
    Response {
        interim: Vec::new(),
        status: head.status,
        reason: head.reason.of(buf).to_vec(),
        fields: pairs(buf, fields),
        body: Vec::new(),
        trailers: Vec::new(),
        keep_alive: head.keep_alive,
        left: 0,
    }
}
