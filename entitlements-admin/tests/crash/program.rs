//! The real program, and a client that takes nothing for granted.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;

/// No test waits longer than this for something that must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) const CATALOG: &str = r#"
[features.seats]
kind = { limit = { unit = "seat" } }
[plans.pro]
grants = { seats = 20 }
"#;

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entitlements-admin"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Where the control plane keeps what it knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'p> {
    pub(crate) data: &'p Path,
    /// A `PostgreSQL` database; absent for a file in the folder.
    pub(crate) database: Option<&'p str>,
}

impl Place<'_> {
    fn tell(self, command: &mut Command) {
        command.arg("--data").arg(self.data);
        command.args(self.database.iter().flat_map(|url| ["--database", url]));
    }
}

/// A control plane in a process of its own, which is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    lines: mpsc::Receiver<String>,
}

/// What a started program says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) addr: SocketAddr,
    /// The first token, which is told only once.
    pub(crate) token: Option<String>,
}

impl Program {
    /// Starts it, with what else it should find in its environment.
    pub(crate) fn start(store: Place<'_>, environment: &[(&str, &Path)]) -> Self {
        let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--log", "error"]);
        store.tell(&mut command);
        command.envs(environment.iter().copied()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut lines = stdout.lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    /// What it says once it listens, or nothing where it does not within this time.
    pub(crate) fn told(&self, within: Duration) -> Option<Told> {
        let first = self.lines.recv_timeout(within).ok()?;
        let (_, addr) = first.split_once("http://").expect("it says first where it listens");
        // It says all of it at once, and the token in the last line, if there is one.
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            if line.starts_with("trust ") {
                break;
            }
        }
        Some(Told { addr: addr.parse().unwrap(), token: None })
    }

    /// Waits for the first token.
    pub(crate) fn told_token(&self) -> Told {
        let told = self.told(DEADLINE).expect("it starts");
        let line = self.lines.recv_timeout(DEADLINE).expect("it tells the first token");
        let (_, token) = line.split_once(": ").expect("the token stands behind a colon");
        Told { token: Some(token.to_owned()), ..told }
    }

    /// Ends it between any two of its instructions.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it in order.
    pub(crate) fn stop(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success(), "it ends in order");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets the program walk the audit's chain, and gives the number of rows or what it complains of.
pub(crate) fn audit_verify(store: Place<'_>) -> Result<u64, String> {
    let mut verify = command(&["audit", "verify"]);
    store.tell(&mut verify);
    let Output { status, stdout, stderr } = verify.output().unwrap();
    let [out, err] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    if !status.success() {
        return Err(err);
    }
    let rows = out.strip_prefix("the audit is whole: ").and_then(|rest| rest.split_once(" rows"));
    rows.and_then(|(rows, _)| rows.parse().ok()).ok_or(out)
}

/// An answer that arrived whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) revision: u64,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Sends one request on a connection of its own. An error says nothing about whether it was done.
pub(crate) fn send(
    to: &Told,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(to.addr)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", to.addr);
    let (token, length) = (to.token.clone().unwrap_or_default(), body.len().to_string());
    let bearer = format!("Bearer {token}");
    let own = [("authorization", bearer.as_str()), ("content-length", &length)];
    for (name, value) in own.iter().chain(headers) {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    read(&text).ok_or_else(|| io::Error::other("the answer is cut off"))
}

fn read(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let length: usize = header("content-length")?.parse().ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let revision = header("entitlements-revision").and_then(|text| text.parse().ok()).unwrap_or(0);
    (body.len() == length).then(|| Answer { status, revision, body: body.into() })
}
