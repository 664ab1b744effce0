//! A `PostgreSQL` server of the tests' own: found, made in a temporary folder, started, and ended
//! with the process that asked for it, however that one ends.

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

pub(crate) mod skip;

use skip::{skip, variable};

/// The address of a fresh, empty database on this process's server, or nothing where `PostgreSQL`
/// is not installed. Then it says that the calling test was skipped.
pub(crate) fn database() -> Option<String> {
    static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    match SERVER.get_or_init(Server::start) {
        Ok(server) => {
            let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
            psql(&server.url("postgres"), &format!("CREATE DATABASE {name}"));
            Some(server.url(&name))
        }
        Err(why) => {
            let test = thread::current();
            skip(&format!("{} on PostgreSQL", test.name().unwrap_or("a test")), why);
            None
        }
    }
}

/// What a statement answers, a line for each row.
pub(crate) fn psql(url: &str, statement: &str) -> String {
    let output = run(&mut client(url, statement));
    succeeded("psql", &output);
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// The server's own client, which runs a statement.
pub(crate) fn client(url: &str, statement: &str) -> Command {
    let mut command = Command::new(programs().expect("the server was found").join("psql"));
    command.args(["--no-psqlrc", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]);
    command.arg("--command").arg(statement).arg(url);
    command
}

/// A running server. It ends when the pipe to its guard closes, and that happens at the latest
/// when the operating system takes back what this process had open.
struct Server {
    port: u16,
    _alive: ChildStdin,
}

/// How often another port is tried where somebody was faster.
const PORTS_TRIED: usize = 5;

impl Server {
    /// Nothing but an absent `PostgreSQL` is a reason to skip: what else goes wrong fails the test.
    fn start() -> Result<Self, String> {
        let programs = programs().ok_or("`initdb` and `postgres` are not installed")?;
        let folder = tempfile::Builder::new().prefix("entitlements-postgres-").tempdir().unwrap();
        let user = user(folder.path());
        if let Some(user) = user {
            succeeded("chown", &run(Command::new("chown").arg(user).arg(folder.path())));
        }
        make_cluster(&programs, folder.path(), user);
        // From here on the guard removes the folder.
        let folder = folder.keep();
        let started = (0..PORTS_TRIED).find_map(|_| guard(&programs, &folder, user));
        let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
        Ok(started.unwrap_or_else(|| panic!("PostgreSQL does not start:\n{}", log())))
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

fn make_cluster(programs: &Path, folder: &Path, user: Option<&str>) {
    let mut initdb = as_user(user, &programs.join("initdb"));
    initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"]);
    initdb.args(["--no-sync", "--pgdata"]).arg(folder.join("data")).current_dir(folder);
    succeeded("initdb", &run(&mut initdb));
    let mut settings = vec![
        "listen_addresses = '127.0.0.1'".to_owned(),
        format!("unix_socket_directories = '{}'", folder.display()),
        "max_connections = 200".to_owned(),
        "shared_buffers = '32MB'".to_owned(),
    ];
    if !syncs() {
        settings.extend(["fsync = off".to_owned(), "full_page_writes = off".to_owned()]);
    }
    let mut file = File::options().append(true).open(folder.join("data/postgresql.conf")).unwrap();
    writeln!(file, "{}", settings.join("\n")).unwrap();
}

/// Starts the server, says on which line it is ready, and waits for the other end of its standard
/// input to go. Then it ends the server, by the id that this one wrote down, and removes the folder.
const GUARD: &str = r#"
programs=$1 folder=$2 port=$3
"$programs/pg_ctl" start --wait --silent --timeout=60 --pgdata="$folder/data" \
    --log="$folder/log" --options="-p $port" </dev/null >"$folder/start" 2>&1 || exit 1
echo ready
cat >"$folder/nothing"
"$programs/pg_ctl" stop --wait --silent --mode=immediate --pgdata="$folder/data" \
    </dev/null >"$folder/stop" 2>&1
cd / && rm -rf "$folder"
"#;

/// Starts a server under a guard, on a port that was free a moment ago; nothing where it is not any
/// more.
fn guard(programs: &Path, folder: &Path, user: Option<&str>) -> Option<Server> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = as_user(user, Path::new("sh"));
    command.args(["-c", GUARD, "guard"]).arg(programs).arg(folder).arg(port.to_string());
    command.current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    // Ctrl-C in a terminal is for the tests: the guard outlives them by a moment.
    let mut guard = command.process_group(0).spawn().unwrap();
    let mut told = String::new();
    BufReader::new(guard.stdout.take().unwrap()).read_line(&mut told).unwrap();
    let alive = guard.stdin.take().unwrap();
    reap(guard);
    (told == "ready\n").then_some(Server { port, _alive: alive })
}

/// Takes note of the guard's end, should it come before ours.
fn reap(mut guard: Child) {
    thread::spawn(move || guard.wait());
}

/// The folder of the server's programs, the newest where there are several.
fn programs() -> Option<PathBuf> {
    let told = Command::new("pg_config").arg("--bindir").output().ok();
    let told = told.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect();
    versions.sort();
    let versions = versions.into_iter().rev().map(|(_, path)| path.join("bin"));
    let path = variable("PATH").unwrap_or_default();
    let path: Vec<PathBuf> = env::split_paths(&path).collect();
    let mut folders = told.map(PathBuf::from).into_iter().chain(versions).chain(path);
    folders.find(|folder| {
        ["initdb", "postgres", "pg_ctl", "psql"].iter().all(|name| folder.join(name).is_file())
    })
}

/// `PostgreSQL` refuses to run as root: whom to run it as instead, if that is who we are.
fn user(ours: &Path) -> Option<&'static str> {
    if fs::metadata(ours).unwrap().uid() != 0 {
        return None;
    }
    let known = |name: &&str| run(Command::new("id").arg(name)).status.success();
    ["postgres", "nobody"].into_iter().find(known)
}

fn as_user(user: Option<&str>, program: &Path) -> Command {
    let Some(user) = user else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).args(["--clear-groups", "--"]).arg(program);
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

#[track_caller]
fn succeeded(name: &str, output: &Output) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{text}", output.status);
}

/// Whether the server waits for the disk. It is off, as no test cuts the power under it, and
/// `ENTITLEMENTS_POSTGRES_FSYNC=on` turns it on.
fn syncs() -> bool {
    variable("ENTITLEMENTS_POSTGRES_FSYNC").is_some_and(|value| value == "on")
}
