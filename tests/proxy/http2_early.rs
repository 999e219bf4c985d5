//! Clients of HTTP/2 whose stream's end comes apart from the last of their content: the endpoint, which counts bytes,
//! answers before it.

use bytes::Bytes;
use h2::Reason;
use http::{HeaderValue, Method};

use crate::LIMIT;
use crate::support::http2::{Client, read, request};
use crate::support::{Backend, Config, Lastcall, wait_until_async};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_ends_after_its_answer_is_not_reset_and_the_endpoints_connection_is_kept() {
    let server = Backend::echo();
    let lastcall = Lastcall::start(Config::new(&[server.address]).flag("--workers=1"));
    let client = Client::connect(lastcall.address).await;
    for _ in 0..3 {
        let mut post = request(Method::POST, "/");
        let length = HeaderValue::from_static("5");
        post.headers_mut().insert("content-length", length);
        let (response, mut body) = client.begin(post).await;
        body.send_data(Bytes::from_static(b"hello"), false).unwrap();
        let answer = read(response.await.unwrap()).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
        // The endpoint is done with it, whatever the client has still to say.
        lastcall.wait_for_in_flight(server.address, 0);
        // A reset would come before the answer to another request.
        assert_eq!(client.get("/next").await.unwrap().status, 200);
        body.send_data(Bytes::new(), true).unwrap();
    }
    assert_eq!(server.seen().len(), 6);
    assert_eq!(server.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_never_ends_is_reset_without_an_error_in_the_end() {
    let server = Backend::echo();
    let config = Config::new(&[server.address]).load_balancer("timeouts: {requestBody: 2s}");
    let lastcall = Lastcall::start(config);
    let client = Client::connect(lastcall.address).await;
    let mut post = request(Method::POST, "/");
    let length = HeaderValue::from_static("5");
    post.headers_mut().insert("content-length", length);
    let (response, mut body) = client.begin(post).await;
    body.send_data(Bytes::from_static(b"hello"), false).unwrap();
    let answer = read(response.await.unwrap()).await.unwrap();
    assert_eq!(answer.status, 200);
    let reset = std::future::poll_fn(|cx| body.poll_reset(cx));
    let reset = tokio::time::timeout(LIMIT, reset).await.unwrap();
    assert_eq!(reset.unwrap(), Reason::NO_ERROR);
    wait_until_async("the next", LIMIT, async || client.get("/next").await).await;
}
