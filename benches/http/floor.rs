//! A bare hyper server on one thread: it reads the body and answers as many bytes as the path says.

use std::{convert::Infallible, net::SocketAddr};

use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;

use super::load;

static ANSWER: [u8; 1 << 17] = [b'x'; 1 << 17];

pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = tokio::net::TcpListener::bind(any).await.unwrap();
        println!("listens on http://{},", listener.local_addr().unwrap());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut builder = http1::Builder::new();
            builder.pipeline_flush(true);
            let connection = builder.serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(connection);
        }
    });
}

async fn answer(
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let bytes = head.uri.path()[1..].parse().unwrap_or(1);
    let _ = body.collect().await;
    let mut response = Response::new(Full::new(Bytes::from_static(&ANSWER[..bytes])));
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    Ok(response)
}

/// Asks for so many bytes.
pub(crate) fn request(bytes: usize) -> load::Request {
    load::post(&format!("/{bytes}"), r#"{"context":{"targetingKey":"clinic-0001"}}"#)
}
