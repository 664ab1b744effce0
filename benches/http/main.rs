//! What a sidecar answers per second over HTTP, beside a bare hyper server that answers as many bytes
//! without knowing anything, and beside other engines where they are installed.
//!
//! Servers run on one core and are asked from the other, in turns, round after round. Processor time
//! per request is the figure that noise touches least; a ratio is of one round, and what is printed
//! is the median of the rounds. `--quick` takes one round; a part of a row's name takes those alone.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot go on stops")]

mod floor;
mod load;
mod peers;
mod server;
mod world;

use std::time::Duration;

use self::{
    load::{Load, Request, Round},
    server::Server,
    world::World,
};

#[path = "../../examples/demo/tenants.rs"]
mod demo;

/// The core that servers run on; the other one asks.
const SERVER_CORE: &str = "0";
const CLIENT_CORE: &str = "1";
const CONNECTIONS: [usize; 3] = [1, 16, 64];

/// A server, and what it is asked in one row of the table.
struct Row {
    name: &'static str,
    server: usize,
    requests: Vec<Request>,
    /// The row that it is held against: bare hyper with as many bytes.
    floor: usize,
    rounds: Vec<Round>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "floor") {
        return floor::serve();
    }
    let rounds = if arguments.iter().any(|argument| argument == "--quick") { 1 } else { 5 };
    let only = arguments.iter().skip(1).find(|argument| !argument.starts_with("--"));
    let only = only.map_or("", String::as_str).to_owned();
    server::pin_self(CLIENT_CORE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(rounds, &only));
}

async fn measure(rounds: usize, only: &str) {
    let world = World::start().await;
    let first_answers = world.first_answers(9).await;
    let (mut servers, mut rows) = (Vec::new(), Vec::new());
    let sidecar = world.sidecar();
    sidecar.until_it_answers(&world.single()[0]).await;
    let floor = Server::floor();
    floor.until_it_answers(&floor::request(1)).await;
    for (name, requests) in [
        ("one flag (OFREP)", world.single()),
        ("one check", world.check()),
        ("100 checks in one", world.batch()),
        ("all flags of a tenant (OFREP)", world.bulk()),
    ] {
        let bytes = sidecar.answer_bytes(&requests[0]).await;
        let place = rows.len();
        let bare = vec![floor::request(bytes)];
        rows.push(Row {
            name: "  bare hyper",
            server: 1,
            requests: bare,
            floor: place,
            rounds: Vec::new(),
        });
        rows.push(Row { name, server: 0, requests, floor: place, rounds: Vec::new() });
    }
    servers.extend([sidecar, floor]);
    for peer in peers::installed(&world) {
        peer.server.until_it_answers(&peer.requests[0]).await;
        let server = servers.len();
        rows.push(Row {
            name: peer.name,
            server,
            requests: peer.requests,
            floor: 0,
            rounds: Vec::new(),
        });
        servers.push(peer.server);
    }
    let is_asked = |row: &Row| row.name.contains(only);
    let floors: Vec<usize> = rows.iter().filter(|row| is_asked(row)).map(|row| row.floor).collect();
    for connections in CONNECTIONS {
        println!("\n{connections} connections");
        rows.iter_mut().for_each(|row| row.rounds.clear());
        for _ in 0..rounds {
            for (place, row) in rows.iter_mut().enumerate() {
                if !row.name.contains(only) && !floors.contains(&place) {
                    continue;
                }
                let load = Load { connections, lasts: Duration::from_millis(1_500) };
                let round = load.on(&servers[row.server], &row.requests).await;
                row.rounds.push(round);
            }
        }
        print(&rows);
    }
    if only.is_empty() {
        print_one_against_many(&rows);
    }
    println!(
        "\nfirst right answer after the start, admin gone, each of {}: {}",
        first_answers.len(),
        {
            let ms = first_answers.iter().map(|it| format!("{:.0}", it.as_secs_f64() * 1_000.0));
            format!("{} ms", ms.collect::<Vec<_>>().join(", "))
        }
    );
    println!(
        "resident after all this, {} tenants: sidecar {} MB",
        world.tenants,
        servers[0].resident_mb()
    );
    world.stop().await;
}

fn print(rows: &[Row]) {
    println!(
        "{:<34}{:>10}{:>10}{:>8}{:>8}{:>10}{:>9}",
        "", "req/s", "of floor", "p50 us", "p99 us", "cpu us", "of floor"
    );
    for row in rows.iter().filter(|row| !row.rounds.is_empty()) {
        let floor = &rows[row.floor].rounds;
        let ratio = |of: fn(&Round) -> f64| {
            median(row.rounds.iter().zip(floor).map(|(mine, floor)| of(mine) / of(floor)))
        };
        let middle = |of: fn(&Round) -> f64| median(row.rounds.iter().map(of));
        println!(
            "{:<34}{:>10.0}{:>10.2}{:>8.0}{:>8.0}{:>10.1}{:>9.2}",
            row.name,
            middle(Round::rate),
            ratio(Round::rate),
            middle(|round| round.p50_us),
            middle(|round| round.p99_us),
            middle(Round::cpu_us),
            ratio(Round::cpu_us),
        );
    }
}

/// How much more a hundred checks in one request cost than one check, at the most connections.
fn print_one_against_many(rows: &[Row]) {
    let of = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
    let (one, many) = (of("one check"), of("100 checks in one"));
    let ratio = one.rounds.iter().zip(&many.rounds).map(|(one, many)| many.cpu_us() / one.cpu_us());
    println!("\n100 checks in one request cost {:.1} times one check", median(ratio));
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
