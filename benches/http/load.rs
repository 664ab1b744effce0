//! Asks a server as fast as it answers, over connections that stay open.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::server::Server;

/// The bytes of a request, made before the clock runs.
pub(crate) type Request = Vec<u8>;

pub(crate) fn post(path: &str, body: &str) -> Request {
    post_with(path, "", body)
}

/// The same, with more lines of head.
pub(crate) fn post_with(path: &str, head: &str, body: &str) -> Request {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{head}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// So many connections for so long.
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) lasts: Duration,
}

/// What one round showed.
pub(crate) struct Round {
    answers: usize,
    took: Duration,
    cpu: Duration,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Round {
    pub(crate) fn rate(&self) -> f64 {
        self.answers as f64 / self.took.as_secs_f64()
    }

    /// Of the server, per request, all its threads.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.answers as f64
    }
}

impl Load {
    pub(crate) async fn on(&self, server: &Server, requests: &[Request]) -> Round {
        let mut streams = Vec::new();
        for _ in 0..self.connections {
            streams.push(Connection::open(server).await);
        }
        let (started, cpu) = (now(), server.cpu());
        let until = started + self.lasts;
        let asked = streams.into_iter().enumerate().map(|(place, mut connection)| async move {
            let mut took_us = Vec::with_capacity(100_000);
            let mut from = now();
            // Each connection begins elsewhere, so that not all ask the same.
            for request in requests.iter().cycle().skip(place * 31) {
                connection.ask(request).await;
                let answered = now();
                took_us.push((answered - from).as_secs_f64() * 1e6);
                from = answered;
                if answered >= until {
                    break;
                }
            }
            took_us
        });
        let mut all: Vec<f64> = futures_util::future::join_all(asked).await.concat();
        let (took, cpu) = (started.elapsed(), server.cpu() - cpu);
        all.sort_by(f64::total_cmp);
        let (p50_us, p99_us) = (all[all.len() / 2], all[all.len() * 99 / 100]);
        Round { answers: all.len(), took, cpu, p50_us, p99_us }
    }
}

/// A connection and what was read from it.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(server: &Server) -> Self {
        let stream = TcpStream::connect(server.addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::with_capacity(1 << 17) }
    }

    /// Sends a request and reads the whole answer, which must be a good one. Returns its body.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> &[u8] {
        let body = self.whole(request).await;
        let text = || String::from_utf8_lossy(&self.buffer);
        assert!(self.is_good(), "{}", text());
        &self.buffer[body]
    }

    /// Whether the last answer was one.
    pub(crate) fn is_good(&self) -> bool {
        self.buffer.starts_with(b"HTTP/1.1 200")
    }

    /// Sends a request and reads the whole answer. Says where its body is.
    pub(crate) async fn whole(&mut self, request: &[u8]) -> Range<usize> {
        self.stream.write_all(request).await.unwrap();
        self.buffer.clear();
        loop {
            assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "it hung up");
            if let Some(head) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let body = head + 4;
                let end = body + content_length(&self.buffer[..body]);
                while self.buffer.len() < end {
                    assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "cut off");
                }
                return body..end;
            }
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    let name = b"content-length: ";
    let at = head.windows(name.len()).position(|some| some.eq_ignore_ascii_case(name));
    let digits = &head[at.unwrap() + name.len()..];
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap();
    std::str::from_utf8(&digits[..end]).unwrap().parse().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
