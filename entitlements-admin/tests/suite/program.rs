//! The real program: exit codes, one clear line, and an orderly end.

use std::{
    net::TcpListener,
    path::Path,
    process::{Output, Stdio},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::support::{CATALOG, Client, DEADLINE};

pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entitlements-admin"));
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn run(arguments: &[&str]) -> Output {
    timeout(DEADLINE, program(arguments).output()).await.expect("it ends").unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// That it ended with this code and one line that says this.
#[track_caller]
fn failed(output: &Output, code: i32, says: &str) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    assert!(error.contains(says), "{error}");
}

/// Starts it and waits for what it announces.
async fn serve(data: &Path) -> (Child, Vec<String>) {
    let data = data.to_str().unwrap();
    let mut command = program(&["serve", "--listen", "127.0.0.1:0", "--data", data]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = Vec::new();
    let announced = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            let last = line.contains("trust.pub");
            told.push(line);
            // The first token stands on the line after.
            if last && Path::new(data).join("seen").exists() {
                break;
            }
            if told.last().is_some_and(|line| line.contains("ent_")) {
                break;
            }
        }
    };
    timeout(DEADLINE, announced).await.expect("it announces itself");
    std::fs::write(Path::new(data).join("seen"), "").unwrap();
    (child, told)
}

fn client(told: &[String]) -> Client {
    let url = told[0].rsplit("http://").next().unwrap();
    let token = told.iter().find_map(|line| line.split_once("ent_"));
    let token = token.map(|(_, rest)| format!("ent_{rest}"));
    Client::new(url.parse().unwrap(), token.as_deref())
}

async fn end(mut child: Child) {
    let pid = child.id().unwrap().to_string();
    let kill = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
    assert!(kill.success());
    let status = timeout(DEADLINE, child.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_wrong_command_line_is_64_and_one_sentence() {
    failed(&run(&["serve", "--listen", "nonsense"]).await, 64, "`--listen nonsense`");
    failed(&run(&["serve", "--listen", "0.0.0.0:0"]).await, 64, "--allow-remote");
    failed(&run(&["serve", "--environment", "A B"]).await, 64, "`--environment A B`");
    failed(&run(&["serve", "--max-age", "0"]).await, 64, "--max-age");
    failed(&run(&["serve", "--log", "a=b=c"]).await, 64, "--log");
    for arguments in [&["serve", "--nothing"][..], &["nothing"], &[], &["schema", "x"]] {
        assert_eq!(run(arguments).await.status.code(), Some(64), "{arguments:?}");
    }
    for arguments in
        [&["--help"][..], &["serve", "--help"], &["catalog", "import", "--help"], &["--version"]]
    {
        assert_eq!(run(arguments).await.status.code(), Some(0), "{arguments:?}");
    }
}

#[tokio::test]
async fn what_stops_a_start_is_1_and_one_line() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = busy.local_addr().unwrap().to_string();
    let output = run(&["serve", "--listen", &listen, "--data", data, "--log", "error"]).await;
    failed(&output, 1, "the port is in use");

    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("data");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data"];
    let in_file = run(&[&serve[..], &[below.to_str().unwrap()]].concat()).await;
    failed(&in_file, 1, "cannot use the data folder");

    let newer = rusqlite::Connection::open(Path::new(data).join("entitlements.db")).unwrap();
    newer.execute("INSERT INTO migration VALUES (99, 'later', 'x', 0)", []).unwrap();
    newer.close().unwrap();
    failed(&run(&[&serve[..], &[data]].concat()).await, 1, "schema 99 `later`");
}

#[tokio::test]
async fn a_missing_or_foreign_key_is_not_replaced_in_silence() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().to_str().unwrap();
    assert!(run(&["key", "list", "--data", data]).await.status.success());
    let root = folder.path().join("keys/root.key");
    let kept = std::fs::read(&root).unwrap();
    let verify = ["audit", "verify", "--data", data];
    std::fs::remove_file(&root).unwrap();
    failed(&run(&verify).await, 1, "root.key`: is missing");
    std::fs::copy(folder.path().join("keys/publisher.key"), &root).unwrap();
    failed(&run(&verify).await, 1, "not the key that this database was made with");
    std::fs::write(&root, kept).unwrap();
    assert!(run(&verify).await.status.success());
    failed(
        &run(&[&verify[..], &["--environment", "other"]].concat()).await,
        1,
        "environment `default`",
    );

    use std::os::unix::fs::PermissionsExt;
    for name in ["root.key", "publisher.key"] {
        let mode = std::fs::metadata(folder.path().join("keys").join(name)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{name}");
    }
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o644)).unwrap();
    failed(&run(&verify).await, 1, "can be read by others");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_until_a_signal_and_finds_its_data_again() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().to_str().unwrap();
    let (child, told) = serve(folder.path()).await;
    let admin = client(&told);
    let toml = [("content-type", "application/toml")];
    assert_eq!(admin.send("PUT", "/v1/catalog", &toml, CATALOG).await.status, 200);
    let second = run(&["serve", "--listen", "127.0.0.1:0", "--data", data]).await;
    failed(&second, 1, "another process uses it");
    let offline = run(&["key", "list", "--data", data]).await;
    failed(&offline, 1, "another process uses it");
    end(child).await;

    let (child, told) = serve(folder.path()).await;
    assert!(!told.concat().contains("ent_"), "the token is printed only once: {told:?}");
    let again = Client { addr: client(&told).addr, ..admin };
    assert!(again.get("/v1/catalog").await.json()["plans"]["pro"].is_object());
    end(child).await;
    let verified = run(&["audit", "verify", "--data", data]).await;
    assert!(text(&verified.stdout).starts_with("the audit is whole: 2 rows"));
}

#[tokio::test]
async fn files_are_checked_imported_and_asked() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let expect = |answer: u32| {
        format!(
            "{CATALOG}\n[tenants.acme]\nsubscriptions = [{{ plan = \"pro\" }}]\n\
             [[expect]]\nat = 2026-03-01T00:00:00Z\ntenant = \"acme\"\nfeature = \"seats\"\nanswer = {answer}\n"
        )
    };
    let good = write("good.toml", &expect(20));
    let other = write("other.toml", &expect(21));
    let wrong = write("wrong.toml", "[plans.pro]\ngrants = { a = 1, b = 2 }\nextends = \"x\"\n");

    let check = run(&["catalog", "check", &good, &wrong]).await;
    assert_eq!(check.status.code(), Some(1));
    assert!(text(&check.stdout).contains("good.toml: ok"));
    let problems = text(&check.stderr);
    assert!(
        problems.contains("wrong.toml:") && problems.contains("3 problems found"),
        "{problems}"
    );
    assert!(run(&["catalog", "check", &good]).await.status.success());

    assert!(run(&["scenario", &good]).await.status.success());
    let failing = run(&["scenario", &other]).await;
    assert_eq!(failing.status.code(), Some(1));
    assert!(text(&failing.stderr).contains("1 expectation was not met"));

    let refused = run(&["catalog", "import", &wrong, "--data", data]).await;
    assert_eq!(refused.status.code(), Some(1));
    let imported = run(&["catalog", "import", &good, "--data", data]).await;
    assert!(text(&imported.stdout).starts_with("revision 1: "), "{imported:?}");
    let missing = run(&["catalog", "import", "nothing.toml", "--data", data]).await;
    failed(&missing, 1, "`nothing.toml`");

    let made = run(&["key", "create", "--scope", "sync", "--label", "x", "--data", data]).await;
    let token = text(&made.stdout);
    assert!(token.starts_with("ent_"), "{made:?}");
    let list = text(&run(&["key", "list", "--data", data]).await.stdout);
    let id = token.split('_').nth(1).unwrap();
    assert!(list.contains(id) && !list.contains("ent_"), "{list}");
    let verified = run(&["audit", "verify", "--data", data]).await;
    assert!(text(&verified.stdout).contains("2 rows"), "{verified:?}");
    let schema = run(&["schema", "document"]).await;
    assert!(text(&schema.stdout).contains("\"expect\""));
}
