//! The readers of `examples/redis-reader`, with the clients that people use.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::Value;

use crate::{
    redis::{pushing, read, twins, until},
    support::{
        CATALOG, Pair,
        redis_server::{RedisServer, skip},
    },
};

/// Reads tenants in turn, a thousand times and at least until the third revision, and counts the
/// reads of which two answers do not belong together.
const IN_PYTHON: &str = r#"
import sys, redis
from reader import Entitlements
cache = Entitlements(redis.Redis.from_url(sys.argv[1], decode_responses=True))
reads, torn, seen = 0, 0, set()
while reads < 1000 or len(seen) < 3:
    found = cache.read(f"t{reads % 20}")
    amounts = {answer["amount"] for answer in found["answers"].values()}
    torn += len(amounts) != 1 or len(found["answers"]) != 50
    reads += 1
    seen.add(found["revision"])
print(torn)
"#;
const IN_NODE: &str = r#"
import { createClient } from "redis";
import { read } from "./reader.mjs";
const client = await createClient({ url: process.argv[1] }).connect();
let [reads, torn] = [0, 0];
const seen = new Set();
while (reads < 1000 || seen.size < 3) {
  const { answers, revision } = await read(client, `t${reads % 20}`);
  const amounts = new Set(Object.values(answers).map((answer) => answer.amount));
  if (amounts.size !== 1 || Object.keys(answers).length !== 50) torn += 1;
  reads += 1;
  seen.add(revision);
}
await client.close();
console.log(torn);
"#;

/// What runs a reader: the program, and a folder where the script and what it needs are found.
struct Runner {
    program: PathBuf,
    folder: PathBuf,
    script: &'static str,
    inline: &'static [&'static str],
}

impl Runner {
    fn python() -> Option<Self> {
        let program = fetched("python").join("env").join("bin").join("python");
        if !program.is_file() {
            skip("redis: the reader in Python", NOT_FETCHED);
            return None;
        }
        Some(Self { program, folder: source(), script: "reader.py", inline: &["-c", IN_PYTHON] })
    }

    fn node() -> Option<Self> {
        let folder = fetched("node");
        if !folder.join("node_modules").join("redis").is_dir() {
            skip("redis: the reader in Node", NOT_FETCHED);
            return None;
        }
        // Node looks for packages beside the script.
        fs::copy(source().join("reader.mjs"), folder.join("reader.mjs")).unwrap();
        let inline = &["--input-type=module", "-e", IN_NODE];
        Some(Self { program: "node".into(), folder, script: "reader.mjs", inline })
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder).env("PYTHONDONTWRITEBYTECODE", "1");
        command.args(arguments).output().unwrap()
    }
}

const NOT_FETCHED: &str = "its packages are not fetched; `cargo xtask test --install` does that";

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/redis-reader")
}

/// Beside the folder that cargo gives to tests.
fn fetched(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../clients").join(folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reader_in_python_reads_what_is_answered_and_nothing_torn() {
    let Some(server) = RedisServer::start("redis: the reader in Python") else { return };
    let Some(runner) = Runner::python() else { return };
    reads_what_is_answered(&runner, &server).await;
    reads_nothing_torn(runner, &server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reader_in_node_reads_what_is_answered_and_nothing_torn() {
    let Some(server) = RedisServer::start("redis: the reader in Node") else { return };
    let Some(runner) = Runner::node() else { return };
    reads_what_is_answered(&runner, &server).await;
    reads_nothing_torn(runner, &server).await;
}

async fn reads_what_is_answered(runner: &Runner, server: &RedisServer) {
    let (pair, _file) = pushing(CATALOG, &server.url(), "").await;
    let mut redis = server.connect().unwrap();
    until(|| read(&mut redis, "acme").is_some()).await;
    let output = runner.run(&[runner.script, &server.url(), "acme"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let mut cached: Value = serde_json::from_slice(&output.stdout).unwrap();
    let set = pair.web.get("/v1/tenants/acme/entitlements").await.json();
    for answer in set["entitlements"].as_array().unwrap() {
        let feature = answer["feature"].as_str().unwrap();
        let mut cached = cached.as_object_mut().unwrap().remove(feature).unwrap();
        cached["feature"] = feature.into();
        assert_eq!(cached, *answer, "{feature}");
    }
    assert_eq!(cached, serde_json::json!({}), "and nothing else");
    let output = runner.run(&[runner.script, &server.url(), "nobody"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("no tenant `nobody`"), "{errors}");
    pair.sidecar.stop().await;
    let _: () = redis::cmd("FLUSHALL").query(&mut redis).unwrap();
}

async fn reads_nothing_torn(runner: Runner, server: &RedisServer) {
    let over = Arc::new(AtomicBool::new(false));
    let (pair, _file): (Pair, _) = pushing(&twins(1), &server.url(), "").await;
    let mut redis = server.connect().unwrap();
    until(|| read(&mut redis, "t19").is_some()).await;
    let (url, halt) = (server.url(), over.clone());
    let reader = std::thread::spawn(move || {
        let arguments = [runner.inline, &[url.as_str()]].concat();
        let output = runner.run(&arguments);
        halt.store(true, Ordering::Release);
        output
    });
    let mut revision = 1;
    while !over.load(Ordering::Acquire) {
        revision += 1;
        pair.upstream.publish(revision, &twins(revision));
        let revision = entitlements_core::Revision(revision);
        pair.sidecar.wait_revision(revision, crate::support::PATIENCE).await.unwrap();
    }
    let output = reader.join().unwrap();
    let (out, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("a reader saw {} torn reads over {revision} revisions", out.trim());
    assert_eq!(out.trim(), "0", "{errors}");
}
