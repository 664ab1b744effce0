//! `flagd.sync.v1` over gRPC: the flag definition, at once and whenever it is another one.
//!
//! A stream ends with `UNAVAILABLE`, never in an orderly way: some clients take an orderly end for the
//! last word and never come back.

use std::{convert::Infallible, pin::Pin, sync::Arc, task};

use futures_util::{Stream, stream};
use hyper::{Request, Response, body::Incoming, server::conn::http2};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tonic::{
    Status,
    body::Body,
    server::{Grpc, ServerStreamingService, UnaryService},
};
use tonic_prost::ProstCodec;

use crate::{config::Limits, flags::keeper::Flags, stop::Stop};

/// What a client asks with. Every one gets all flags.
#[derive(Clone, PartialEq, prost::Message)]
struct Asked {
    #[prost(string, tag = "1")]
    provider_id: String,
    #[prost(string, tag = "2")]
    selector: String,
}

/// All flags, as a definition in JSON.
#[derive(Clone, PartialEq, prost::Message)]
struct Told {
    #[prost(string, tag = "1")]
    flag_configuration: String,
}

/// Nothing that flags need.
#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}

/// What is known of the source. Some clients want the field to be there.
#[derive(Clone, PartialEq, prost::Message)]
struct Known {
    #[prost(message, optional, tag = "2")]
    metadata: Option<Nothing>,
}

/// Answers calls of one connection.
#[derive(Debug, Clone)]
struct Service {
    flags: Flags,
    stop: Stop,
    token: Option<Arc<str>>,
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Definitions = Pin<Box<dyn Stream<Item = Result<Told, Status>> + Send>>;

impl Service {
    /// Every definition, from the present one on, until the sidecar stops.
    fn definitions(&self) -> Definitions {
        let (watch, stop) = (self.flags.definitions(), self.stop.clone());
        let first = (watch, stop, true);
        Box::pin(stream::unfold(Some(first), |state| async move {
            let (mut watch, mut stop, is_first) = state?;
            let mut present = if is_first { watch.borrow_and_update().clone() } else { None };
            while present.is_none() {
                tokio::select! {
                    Ok(()) = watch.changed() => present = watch.borrow_and_update().clone(),
                    () = stop.told() => {
                        return Some((Err(Status::unavailable("the sidecar stops")), None));
                    }
                }
            }
            let told = Told { flag_configuration: present?.text.clone() };
            Some((Ok(told), Some((watch, stop, false))))
        }))
    }

    fn allows(&self, request: &Request<Incoming>) -> bool {
        let Some(token) = &self.token else { return true };
        let given = request.headers().get("authorization").and_then(|it| it.to_str().ok());
        let given = given.and_then(|it| it.strip_prefix("Bearer ")).map(str::trim);
        // Hashes are compared, in a time that tells nothing.
        given.map(|it| blake3::hash(it.as_bytes())) == Some(blake3::hash(token.as_bytes()))
    }
}

/// `SyncFlags`
struct Sync(Service);

impl ServerStreamingService<Asked> for Sync {
    type Response = Told;
    type ResponseStream = Definitions;
    type Future = Boxed<Result<tonic::Response<Definitions>, Status>>;

    fn call(&mut self, _: tonic::Request<Asked>) -> Self::Future {
        let definitions = self.0.definitions();
        Box::pin(async move { Ok(tonic::Response::new(definitions)) })
    }
}

/// `FetchAllFlags`
struct Fetch(Service);

impl UnaryService<Asked> for Fetch {
    type Response = Told;
    type Future = Boxed<Result<tonic::Response<Told>, Status>>;

    fn call(&mut self, _: tonic::Request<Asked>) -> Self::Future {
        let definition = self.0.flags.definitions().borrow().clone();
        Box::pin(async move {
            let definition = definition.ok_or_else(|| Status::unavailable("there are none yet"))?;
            Ok(tonic::Response::new(Told { flag_configuration: definition.text.clone() }))
        })
    }
}

/// `GetMetadata`, which older clients ask for.
struct Metadata;

impl UnaryService<Nothing> for Metadata {
    type Response = Known;
    type Future = Boxed<Result<tonic::Response<Known>, Status>>;

    fn call(&mut self, _: tonic::Request<Nothing>) -> Self::Future {
        Box::pin(async { Ok(tonic::Response::new(Known { metadata: Some(Nothing {}) })) })
    }
}

impl tower_service::Service<Request<Incoming>> for Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if !service.allows(&request) {
                return Ok(Status::unauthenticated("send `authorization: Bearer …`").into_http());
            }
            let path = request.uri().path().to_owned();
            Ok(match path.strip_prefix("/flagd.sync.v1.FlagSyncService/") {
                Some("SyncFlags") => {
                    let codec = ProstCodec::<Told, Asked>::default();
                    Grpc::new(codec).server_streaming(Sync(service), request).await
                }
                Some("FetchAllFlags") => {
                    let codec = ProstCodec::<Told, Asked>::default();
                    Grpc::new(codec).unary(Fetch(service), request).await
                }
                Some("GetMetadata") => {
                    let codec = ProstCodec::<Known, Nothing>::default();
                    Grpc::new(codec).unary(Metadata, request).await
                }
                _ => Status::unimplemented(format!("there is nothing at `{path}`")).into_http(),
            })
        })
    }
}

/// Serves until it is told to stop.
pub(crate) async fn serve(
    listener: TcpListener,
    flags: Flags,
    token: Option<String>,
    limits: Limits,
    mut stop: Stop,
) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let service = Service { flags, stop: stop.clone(), token: token.map(Into::into) };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.told() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Most likely out of file descriptors: some will come back.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let Ok(room) = room.clone().try_acquire_owned() else { continue };
        let _ = stream.set_nodelay(true);
        let (service, keep_alive, idle) = (service.clone(), limits.keep_alive, limits.idle);
        tokio::spawn(async move {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).max_concurrent_streams(32);
            builder.keep_alive_interval(keep_alive).keep_alive_timeout(idle);
            let service = TowerToHyperService::new(service);
            // A client that goes away in the middle is no trouble of ours.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            drop(room);
        });
    }
}
