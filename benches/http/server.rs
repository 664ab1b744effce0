//! Servers as processes of their own, each on the core that servers have.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{
    SERVER_CORE,
    load::{Connection, Request, now},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A running server. It ends with this value.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
}

impl Server {
    /// Bare hyper.
    pub(crate) fn floor() -> Self {
        let program = std::env::current_exe().unwrap();
        Self::announced(on_core(SERVER_CORE, &program).arg("floor"))
    }

    /// Starts a program that says on its first line where it listens.
    pub(crate) fn announced(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.split("http://").nth(1).and_then(|rest| rest.split(',').next());
        let addr = addr.and_then(|addr| addr.trim().parse().ok());
        Self { child, addr: addr.unwrap_or_else(|| panic!("it did not start: {line}")) }
    }

    /// Starts a program that listens where it was told to.
    pub(crate) fn at(command: &mut Command, port: u16) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { child, addr: ([127, 0, 0, 1], port).into() }
    }

    pub(crate) async fn until_it_answers(&self, request: &Request) {
        let start = now();
        loop {
            assert!(start.elapsed() < PATIENCE, "{} does not answer", self.addr);
            if tokio::net::TcpStream::connect(self.addr).await.is_ok() {
                let mut connection = Connection::open(self).await;
                connection.whole(request).await;
                if connection.is_good() {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) async fn answer_bytes(&self, request: &Request) -> usize {
        Connection::open(self).await.ask(request).await.len()
    }

    /// The processor time that it has used, user and system.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name may hold spaces, and ends with the last bracket.
        let fields = stat.rsplit(')').next().unwrap();
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    pub(crate) fn resident_mb(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1_000.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that runs on one core where there is a way to say so.
pub(crate) fn on_core(core: &str, program: &Path) -> Command {
    if Command::new("taskset").arg("-V").stdout(Stdio::null()).status().is_err() {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program);
    command
}

pub(crate) fn pin_self(core: &str) {
    let me = std::process::id().to_string();
    let pinned =
        Command::new("taskset").args(["-a", "-cp", core, &me]).stdout(Stdio::null()).status();
    if !pinned.is_ok_and(|status| status.success()) {
        println!("servers and clients share the cores: there is no `taskset`");
    }
}
