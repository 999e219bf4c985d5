//! What a client that speaks HTTP/2 is told in an endpoint's place: by HTTP's status, or in gRPC's own words.

use bytes::Bytes;
use h2::Reason;
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::response::response_for_client;
use super::stream::Stream;
use crate::proxy::exchange::{Caller, Piece, Then};
use crate::proxy::grpc;
use crate::proxy::respond::Answer;
use crate::proxy::sheets::Sheet;

impl Stream {
    /// Sends a response of our own in place of an endpoint's.
    pub(super) fn answer(&mut self, answer: &Answer) {
        if self.grpc {
            self.answer_call(answer);
            return;
        }
        self.client.worker.count_response(answer.status);
        let mut sheet = Sheet::new(&self.client.worker.sheets);
        answer.write(true, false, &mut sheet.bytes);
        let text = &sheet.bytes;
        let end = memchr::memmem::find(text, b"\r\n\r\n").map_or(text.len(), |at| at + 4);
        let content = Bytes::copy_from_slice(&text[end..]);
        let Ok(response) = response_for_client(&text[..end]) else {
            return self.caller.reset(Reason::INTERNAL_ERROR);
        };
        let ends = self.no_body || content.is_empty();
        // Fails only where the client is gone.
        let begun = self.caller.respond(response, ends);
        if begun.is_ok() && !ends {
            let then = Then::End;
            let _ = self.caller.send(Piece {
                data: content,
                then,
            });
        }
    }

    /// In gRPC's own words: a response of nothing but trailers.
    fn answer_call(&mut self, answer: &Answer) {
        self.client.worker.count_response(200);
        let status = answer.grpc_status;
        let status = status.unwrap_or_else(|| grpc::status(answer.status));
        let mut response = http::Response::new(());
        let headers = response.headers_mut();
        *headers = grpc::trailers(status, &answer.detail);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let _ = self.caller.respond(response, true);
    }
}
