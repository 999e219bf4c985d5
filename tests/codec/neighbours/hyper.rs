//! hyper's server and client on loopback.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// Starts a server that reads each request whole.
pub fn start() -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .half_close(true)
                        .serve_connection(TokioIo::new(stream), service_fn(take)),
                );
            }
        });
    });
    told.recv().unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

async fn take(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let taken = request.into_body().collect().await.is_ok();
    let mut response = Response::new(Full::default());
    if taken {
        response
            .headers_mut()
            .insert("x-taken", "1".parse().unwrap());
    } else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    Ok(response)
}

/// Asks `server` once and says what came.
pub fn get(server: SocketAddr) -> String {
    runtime().block_on(async move {
        let stream = TcpStream::connect(server).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection.with_upgrades());
        let request = Request::get("/")
            .header("host", "a")
            .body(Empty::<Bytes>::new());
        match sender.send_request(request.unwrap()).await {
            Err(_) => "refused",
            Ok(response) => match response.into_body().collect().await {
                Ok(_) => "whole",
                Err(_) => "cut",
            },
        }
        .to_owned()
    })
}
