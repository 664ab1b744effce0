//! A Redis of our own, on a free port, that keeps nothing.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::Connection;

pub(crate) struct RedisServer {
    pub(crate) port: u16,
    folder: tempfile::TempDir,
    process: Option<Child>,
    extra: Vec<String>,
}

impl RedisServer {
    /// `None` where there is no `redis-server` here; then the test says that it is skipped.
    pub(crate) fn start(test: &str) -> Option<Self> {
        Self::start_with(test, &[])
    }

    pub(crate) fn start_with(test: &str, extra: &[&str]) -> Option<Self> {
        if Command::new("redis-server").arg("--version").output().is_err() {
            skip(test, "there is no `redis-server`; install the package of your distribution");
            return None;
        }
        let port = free_port();
        let folder = tempfile::tempdir().unwrap();
        let extra = extra.iter().map(|&it| it.to_owned()).collect();
        let mut server = Self { port, folder, process: None, extra };
        server.up();
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it, empty, and waits until it answers.
    pub(crate) fn up(&mut self) {
        let process = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "no", "--dir"])
            .arg(self.folder.path())
            .args(&self.extra)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.process = Some(process);
        for _ in 0..500 {
            if let Ok(mut connection) = self.connect()
                && redis::cmd("PING").query::<String>(&mut connection).is_ok()
            {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        panic!("Redis did not come up");
    }

    /// Ends it at once, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub(crate) fn connect(&self) -> redis::RedisResult<Connection> {
        redis::Client::open(self.url())?.get_connection()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that is free, and below those that a cluster needs on top of it.
fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

/// Says that a test was skipped, in the words that `cargo xtask test` looks for.
#[expect(clippy::disallowed_methods, reason = "the environment says whether skipping is allowed")]
pub(crate) fn skip(name: &str, why: &str) {
    let wanted = std::env::var("CI").is_ok_and(|ci| ci == "true")
        || std::env::var("ENTITLEMENTS_CLIENTS").is_ok_and(|clients| clients == "required");
    assert!(!wanted, "{name}: {why}");
    use std::io::Write;
    // Past the test harness, which keeps what passing tests print.
    let _ = writeln!(std::io::stderr(), "skipped: {name}: {why}");
}
