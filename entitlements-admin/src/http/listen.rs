//! The accept loop: so many connections, so long for a header, and an orderly end.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
};

use super::{guard::Peer, patient::Patient, routes::router};
use crate::app::App;

/// How many connections may be open. More wait to be taken.
const CONNECTIONS_MAX: usize = 1_024;
/// How long a request's header may take, and how long a connection may be idle before it.
const HEADER_PATIENCE: Duration = Duration::from_secs(5);
/// How long the other end may take nothing of an answer.
const WRITE_PATIENCE: Duration = Duration::from_secs(15);
/// How long requests may take to end when the process goes.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);
/// How long to leave off when the operating system gives no connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server that is up.
#[derive(Debug)]
pub struct Server {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Takes connections from a listener.
    #[must_use]
    pub fn start(listener: TcpListener, app: App) -> Self {
        let stop = watch::Sender::new(false);
        let task = tokio::spawn(accept(listener, router(app), stop.subscribe()));
        Self { stop, task }
    }

    /// Takes no more, and waits until what was asked is answered.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the server did not end in an orderly way");
        }
    }
}

/// Returns once the server is told to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

async fn accept(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = told(&mut stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = next(&listener, &permits) => accepted,
        };
        let Some((stream, peer, permit)) = accepted else { continue };
        let (router, stop) = (router.clone().layer(Extension(Peer(peer))), stop.clone());
        connections.spawn(async move {
            serve(stream, router, stop).await;
            drop(permit);
        });
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_PATIENCE, drained).await.is_err() {
        tracing::warn!("some requests were cut off: they took too long to end");
    }
}

/// The next connection, once there is room for one.
async fn next(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> Option<(TcpStream, IpAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer.ip(), permit)),
        Err(error) => {
            tracing::warn!(%error, "a connection was not taken");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn serve(stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
    // Answers are small and awaited: do not hold them back.
    drop(stream.set_nodelay(true));
    let stream = TokioIo::new(Patient::new(stream, WRITE_PATIENCE));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        .serve_connection(stream, TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}
