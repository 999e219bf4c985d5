//! One request of a client that speaks HTTP/2, from its head to its end: where it goes, and what goes there, as
//! often as `attempts` allows.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;

use super::request::{Bootstrap, NormalRequest, read_request};
use super::requester::Requester;
use super::server::{Client, Open};
use crate::proxy::attempts::{Attempts, Task};
use crate::proxy::destination::{Chosen, Request, count_answer, destination};
use crate::proxy::exchange::{Caller, Opened, Outbound};
use crate::proxy::filters::Filtered;
use crate::proxy::grpc;
use crate::proxy::http1::driver::request_id;
use crate::proxy::http1::{
    ForwardContext, HeadLimits, RequestBody, WebSocketAccept, forward_request,
};
use crate::proxy::mirror::Copied;
use crate::proxy::respond::Answer;
use crate::proxy::sheets::Sheet;
use crate::proxy::timer::Timer;
use crate::proxy::worker::{Exchanging, Site, View};

/// One request and what serves it.
pub(super) struct Stream {
    pub(super) client: Rc<Client>,
    pub(super) caller: Requester,
    pub(super) timer: Timer,
    pub(super) exchanging: Exchanging,
    /// It is a call of gRPC.
    pub(super) grpc: bool,
    /// Its answer has no body, whatever its fields say.
    pub(super) no_body: bool,
    /// The tunnel that it has become, and how long that may be idle.
    pub(super) opened: Option<Box<(Opened, Option<Duration>)>>,
    /// The last to go: the connection looks then whether it may end.
    _open: Open,
}

/// What is asked. One view of the configuration holds for the whole request.
pub(super) struct Asked {
    view: Rc<View>,
    site: Rc<Site>,
    request: NormalRequest,
    /// The time that a call of gRPC allows.
    timeout: Option<Duration>,
    /// What the key of a `WebSocket`'s opening is answered with.
    accept: Option<WebSocketAccept>,
}

impl Stream {
    /// A request that has just come.
    pub(super) fn new(
        open: Open,
        parts: &http::request::Parts,
        body: RecvStream,
        reply: SendResponse<Bytes>,
    ) -> Self {
        let client = Rc::clone(open.client());
        let exchanging = Exchanging::new(&client.worker);
        let timer = client.worker.timers.take();
        let content_type = parts.headers.get(http::header::CONTENT_TYPE);
        Self {
            client,
            caller: Requester::new(body, reply),
            timer,
            exchanging,
            grpc: content_type.is_some_and(|value| grpc::is_grpc(value.as_bytes())),
            no_body: parts.method == http::Method::HEAD,
            opened: None,
            _open: open,
        }
    }

    /// Reads the request's head; an error is what the client is told.
    pub(super) fn read(&self, parts: &http::request::Parts) -> Result<Asked, Answer> {
        let view = self.client.worker.view();
        let site = self.client.site(&view)?;
        let read = self.read_for(parts, &site);
        let (request, key) = read.inspect_err(|answer| self.count(answer))?;
        Ok(Asked {
            view,
            site,
            request,
            timeout: grpc_timeout(parts).filter(|_| self.grpc),
            accept: key.and_then(|key| WebSocketAccept::to(key.as_bytes())),
        })
    }

    /// The request, and the key where it opens a `WebSocket`.
    fn read_for(
        &self,
        parts: &http::request::Parts,
        site: &Site,
    ) -> Result<(NormalRequest, Option<String>), Answer> {
        let key = websocket_key(&self.client, parts)?;
        let limits = HeadLimits::from(&site.load_balancer().limits);
        let bootstrap = key.as_deref().map_or(Bootstrap::None, Bootstrap::WebSocket);
        // The body of a WebSocket's opening is the tunnel itself.
        let ends = self.caller.is_ended() || key.is_some();
        let sheet = Sheet::new(&self.client.worker.sheets);
        let read = read_request(parts, ends, bootstrap, &limits, sheet);
        let request = read.map_err(|fault| Answer::new(fault.status(), fault.detail()))?;
        Ok((request, key))
    }

    /// Has the request answered.
    pub(super) async fn serve(mut self, asked: Asked) {
        let control = Rc::clone(&self.exchanging.control);
        poll_fn(|cx| {
            control.register(cx.waker());
            Poll::Ready(())
        })
        .await;
        if let Err(answer) = self.respond(&asked).await {
            self.answer(&answer);
        }
        // A tunnel may last for days: it holds nothing of the configuration.
        drop(asked);
        if self.opened.is_some() {
            // On the heap while it lasts: requests are to carry nothing of it.
            Box::pin(self.tunnel()).await;
        }
        self.client.worker.timers.give(self.timer);
    }

    /// Counts what we say ourselves.
    fn count(&self, answer: &Answer) {
        count_answer(answer, self.client.worker.stats());
    }

    /// Where the request goes, or what we say ourselves.
    fn destination<'s>(
        &self,
        site: &'s Site,
        request: &NormalRequest,
    ) -> Result<Chosen<'s>, Answer> {
        let asked = Request {
            head: &request.head,
            buf: &request.sheet.bytes,
            fields: &request.sheet.fields,
            client: &self.client.told.borrow(),
            peer: self.client.peer.ip(),
        };
        destination(site, &asked)
    }

    async fn respond(&mut self, asked: &Asked) -> Result<(), Answer> {
        let Asked { view, request, .. } = asked;
        let site: &Site = &asked.site;
        let chosen = self.destination(site, request);
        let chosen = chosen.inspect_err(|answer| self.count(answer))?;
        let choice = &chosen.backend;
        let mut sheet = Sheet::new(&self.client.worker.sheets);
        self.write_forward(site, request, chosen.filtered, &mut sheet.bytes);
        let head = &sheet.bytes;
        let (client, worker) = (|| self.client.addresses, &self.client.worker);
        let copied = Copied::new(chosen.filtered, view, worker, &request.head, head, client);
        let load_balancer = site.load_balancer();
        let limit = [choice.timeouts.request, asked.timeout]
            .into_iter()
            .flatten()
            .min();
        let task = Task {
            head: &request.head,
            timeouts: &choice.timeouts,
            client_timeouts: &load_balancer.timeouts,
            body_limit: load_balancer.limits.body_bytes,
            deadline: limit.map(|limit| Instant::now() + limit),
            upgrade: request.head.upgrade.is_some(),
            accept: asked.accept,
            edits: chosen.filtered.and_then(|f| f.filters.response.as_ref()),
            copied: copied.as_ref(),
        };
        let pool = &view.pools[choice.backend];
        let outbound = Outbound {
            protocol: pool.protocol,
            head,
            chunked: request.head.body == RequestBody::Chunked,
            upgrade: task.upgrade,
        };
        let attempts = Attempts::new(&chosen, task, pool, &self.exchanging.control);
        self.ask(&outbound, attempts).await
    }

    /// Writes the head for the endpoint.
    fn write_forward(
        &self,
        site: &Site,
        request: &NormalRequest,
        filtered: Option<Filtered<'_>>,
        out: &mut Vec<u8>,
    ) {
        let worker = &self.client.worker;
        let peer = self.client.peer.ip();
        let mut trusted = site.load_balancer().trusted_proxies.iter();
        let mut told = self.client.told.borrow_mut();
        told.trust(trusted.any(|net| net.contains(&peer)));
        let id = request_id(&worker.rng);
        let context = ForwardContext {
            client: &told,
            request_id: std::str::from_utf8(&id).unwrap_or_default(),
            // HTTP/2 cannot leave it out.
            default_host: "",
            pass_expect: true,
            filtered,
        };
        forward_request(
            &request.head,
            &request.sheet.bytes,
            &request.sheet.fields,
            &context,
            out,
        );
    }

    /// Asks endpoints until one has answered; what the client is told where none has.
    async fn ask(
        &mut self,
        outbound: &Outbound<'_>,
        mut attempts: Attempts<'_>,
    ) -> Result<(), Answer> {
        loop {
            let caller = &mut self.caller;
            let next = attempts.next(&self.client.worker, |cx| caller.poll_gone(cx));
            let Some(in_flight) = next.await? else {
                self.client.count_given_up();
                return Ok(());
            };
            let tried = self.attempt(outbound, &mut attempts, in_flight).await;
            if let Some(()) = attempts.note(tried)? {
                return Ok(());
            }
        }
    }
}

fn grpc_timeout(parts: &http::request::Parts) -> Option<Duration> {
    grpc::timeout(parts.headers.get("grpc-timeout")?.as_bytes())
}

/// The key for a WebSocket's opening towards HTTP/1, where one is asked for (RFC 8441); other protocols are
/// not known here.
fn websocket_key(client: &Client, parts: &http::request::Parts) -> Result<Option<String>, Answer> {
    use base64::Engine;
    match parts.extensions.get::<h2::ext::Protocol>() {
        None => Ok(None),
        Some(protocol) if protocol.as_str() == "websocket" => {
            let bits = [client.worker.rng.next(), client.worker.rng.next()];
            let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_be_bytes()).collect();
            Ok(Some(
                base64::engine::general_purpose::STANDARD.encode(bytes),
            ))
        }
        Some(_) => Err(Answer::new(
            501,
            "the only protocol of CONNECT served is websocket",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_of_a_stream_is_small() {
        /// Bytes of the future that is made of a stream and what it asks.
        fn size<F: Future>(_: fn(Stream, Asked) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size(Stream::serve);
        assert!(bytes <= 2650, "{bytes} bytes");
    }
}
