//! Takes connections, no more than it can hold, and lets none of them linger.

use std::{convert::Infallible, io, path::Path, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::{
    Route,
    authzen::Authzen,
    guard::{Door, Guard},
    pace::{Pace, Paced, Watch},
};
use crate::{
    config::{Config, Limits},
    flags::keeper::Flags,
    serving::Serving,
    stop::Stop,
    sync::Relay,
};

/// Everything that a connection needs.
#[derive(Debug)]
pub(crate) struct Server {
    pub(super) serving: Arc<Serving>,
    pub(super) guard: Guard,
    pub(super) limits: Limits,
    pub(super) stop: Stop,
    pub(super) authzen: Authzen,
    /// Features as flags, where they are served.
    pub(super) flags: Option<Flags>,
    /// What is handed on to sidecars below this one, where it is.
    pub(super) relay: Option<Relay>,
    room: Arc<Semaphore>,
    /// Event streams may take no more than half the room.
    pub(super) streams: Arc<Semaphore>,
}

/// Where connections come from.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// A unix socket that its owner and group may use. One that a dead process left is replaced.
    pub(crate) fn unix(path: &Path) -> io::Result<Self> {
        use std::os::unix::{fs::FileTypeExt, fs::PermissionsExt, net::UnixStream};
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => {
                if UnixStream::connect(path).is_ok() {
                    return Err(io::ErrorKind::AddrInUse.into());
                }
                std::fs::remove_file(path)?;
            }
            Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
        Ok(Self::Unix(listener))
    }
}

impl Server {
    pub(crate) fn new(
        serving: Arc<Serving>,
        config: &Config,
        limits: Limits,
        stop: Stop,
        authzen: Authzen,
        flags: Option<Flags>,
        relay: Option<Relay>,
    ) -> Self {
        let room = Arc::new(Semaphore::new(limits.connections));
        let streams = Arc::new(Semaphore::new(limits.connections.div_ceil(2)));
        Self {
            serving,
            guard: Guard::new(config),
            limits,
            stop,
            authzen,
            flags,
            relay,
            room,
            streams,
        }
    }

    /// Takes connections until it is told to stop.
    pub(crate) async fn accept(self: Arc<Self>, listener: Listener) {
        let mut stop = self.stop.clone();
        loop {
            let accepted = tokio::select! {
                accepted = self.accept_one(&listener) => accepted,
                () = stop.told() => return,
            };
            if let Err(error) = accepted {
                // Most likely out of file descriptors: some will come back.
                tracing::warn!("cannot take a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    async fn accept_one(self: &Arc<Self>, listener: &Listener) -> io::Result<()> {
        match listener {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Answers are small; waiting to fill a packet would only delay them.
                let _ = stream.set_nodelay(true);
                match self.room.clone().try_acquire_owned() {
                    Ok(room) => drop(tokio::spawn(self.clone().serve(stream, Door::Tcp, room))),
                    Err(_) => self.turn_away(|bytes| stream.try_write(bytes)),
                }
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                match self.room.clone().try_acquire_owned() {
                    Ok(room) => drop(tokio::spawn(self.clone().serve(stream, Door::Unix, room))),
                    Err(_) => self.turn_away(|bytes| stream.try_write(bytes)),
                }
            }
        }
        Ok(())
    }

    fn turn_away(&self, write: impl FnOnce(&[u8]) -> io::Result<usize>) {
        self.serving.metrics.turned_away();
        // A courtesy: whoever cannot take it finds the connection closed.
        let _ = write(FULL);
    }

    /// Waits until every connection is gone, but not for ever.
    pub(crate) async fn drained(&self) {
        let all = u32::try_from(self.limits.connections).unwrap_or(u32::MAX);
        let gone = self.room.acquire_many(all);
        if tokio::time::timeout(self.limits.drain, gone).await.is_err() {
            tracing::warn!("some connections were still open when the sidecar stopped");
        }
    }

    async fn serve<S>(self: Arc<Self>, stream: S, door: Door, room: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let pace = Pace::default();
        let io = TokioIo::new(Paced::new(stream, pace.clone()));
        let service = service_fn(|request: Request<Incoming>| {
            let (server, pace) = (&*self, &pace);
            let is_relayed = server.relay.is_some() && Route::is_for_relays(request.uri().path());
            if is_relayed {
                pace.held_request_begins();
            } else {
                pace.request_begins();
            }
            async move {
                let reply = server.answer(door, request).await;
                pace.answer_begins(is_relayed || reply.body().is_stream());
                Ok::<_, Infallible>(reply)
            }
        });
        let mut builder = http1::Builder::new();
        // The pace below takes the place of hyper's time-out for heads.
        builder.timer(TokioTimer::new()).header_read_timeout(None).pipeline_flush(true);
        builder.max_buf_size(HEAD_BYTES_MAX);
        let mut connection = std::pin::pin!(builder.serve_connection(io, service));
        let mut watch = Watch::new(pace.clone());
        let mut tick = tokio::time::interval(Watch::tick(&self.limits));
        tick.reset();
        let mut stop = self.stop.clone();
        let mut draining = false;
        loop {
            tokio::select! {
                biased;
                _ = connection.as_mut() => break,
                _ = tick.tick() => if watch.is_overdue(&self.limits) { break },
                () = stop.told(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
        drop(room);
    }
}

const HEAD_BYTES_MAX: usize = 64 * 1_024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
