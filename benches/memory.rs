//! How much memory a process needs that loads 1,000,000 tenants, at the most and in the end.
//!
//! Nothing is timed. The file is written by one process and loaded by another, so that only the
//! loading counts.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::{fs, path::Path, process::Command, sync::Arc};

use entitlements_core::{Revision, Snapshot, Timestamp, document::Document};

#[path = "../examples/demo/tenants.rs"]
mod demo;

const NOW: Timestamp = Timestamp::from_micros(1_781_524_800_000_000);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().position(|argument| argument == "load") {
        Some(place) => load(Path::new(&arguments[place + 1])),
        None => measure(),
    }
}

fn measure() {
    let text = include_str!("../examples/demo/clinic.toml");
    let catalog = Arc::new(Document::parse("clinic.toml", text).unwrap().check().unwrap());
    let tenants: Vec<_> = demo::tenants(1_000_000, NOW).collect();
    let pairs = tenants.iter().map(|(key, tenant)| (key, tenant));
    let bytes = Snapshot::compile(Revision(1), catalog, pairs, NOW).encode();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("million.snapshot");
    fs::write(&path, &bytes).unwrap();
    println!("1,000,000 tenants of the demo, {} MB on disk", bytes.len() / 1_000_000);
    let program = std::env::current_exe().unwrap();
    assert!(Command::new(program).arg("load").arg(&path).status().unwrap().success());
}

fn load(path: &Path) {
    let snapshot = Snapshot::open(&fs::read(path).unwrap()).unwrap();
    tell("loaded");
    assert!(snapshot.check("acme", "appointments", NOW).revision() == Revision(1));
    let snapshot = snapshot.refreshed(NOW).unwrap();
    tell("every answer prepared, the one before dropped");
    println!("  of it tenants and answers: {} MB", snapshot.bytes() / 1_000_000);
}

fn tell(what: &str) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mb = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
            / 1_000
    };
    println!("{what}: {} MB resident, {} MB at the most", mb("VmRSS:"), mb("VmHWM:"));
}
