//! The `PostgreSQL` server that tests use comes up, and goes with who asked for it.

use std::{
    io::{self, BufRead, BufReader, Read},
    net::TcpStream,
    process::{Command, Stdio},
};

use crate::postgres::{client, database, psql};

/// So often a connection is tried; one takes well under a millisecond.
const TRIES: usize = 100_000;

#[test]
fn each_database_is_fresh() {
    let Some(first) = database() else { return };
    psql(&first, "CREATE TABLE mine (id BIGINT)");
    let second = database().unwrap();
    assert_ne!(first, second);
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'mine'";
    assert_eq!([psql(&first, tables), psql(&second, tables)], ["1", "0"]);
}

#[test]
fn the_server_goes_with_a_process_that_is_killed() {
    if database().is_none() {
        return;
    }
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "server::a_process_to_kill", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(test.stdout.take().unwrap()).lines();
    let url = lines.map(Result::unwrap).find(|line| line.starts_with("postgres://")).unwrap();
    let mut waiting = client(&url, "SET statement_timeout = '20 s'; SELECT pg_sleep(60)");
    let mut waiting = waiting.stderr(Stdio::piped()).spawn().unwrap();
    test.kill().unwrap();
    test.wait().unwrap();
    let mut told = String::new();
    waiting.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    waiting.wait().unwrap();
    assert!(!told.contains("timeout"), "it still runs: {told}");
    // It listens for a moment more, and lets nobody in.
    let gone = (0..TRIES).any(|_| TcpStream::connect(address(&url)).is_err());
    assert!(gone, "nobody listens any more");
}

#[test]
#[ignore = "only `the_server_goes_with_a_process_that_is_killed` starts it"]
fn a_process_to_kill() {
    println!("\n{}", database().unwrap());
    // Until it is killed, or nobody is there any more to do that.
    io::copy(&mut io::stdin(), &mut io::sink()).unwrap();
}

fn address(url: &str) -> &str {
    url.split(['@', '/']).nth(3).unwrap()
}
