//! Named attacks on the sync: each through the real path, a running sidecar that asks over HTTP. None
//! is accepted, and what was served before goes on being served.

use std::io::Write;

use entitlements_core::{
    Revision, Timestamp,
    document::{Delta, Hash},
    signed::{
        Basis, Header, SigningKey, Tidings, bundle, seal_candidate, seal_checkpoint, seal_delta,
        seal_heartbeat, seal_keys, seal_snapshot,
    },
};
use flate2::{Compression, write::GzEncoder};

use crate::support::{
    CATALOG, PATIENCE, Pair, catalog_with_seats, now, root,
    upstream::{Forged, World},
};

/// What an attack sends in the place of an honest answer.
enum Sends {
    Body(Vec<u8>),
    Packed(Vec<u8>),
    Keys(Vec<u8>),
}

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes([byte; 32])
}

fn later(world: &World) -> World {
    let mut later = World::new(6, &catalog_with_seats(99));
    later.publisher = world.publisher;
    later
}

fn header(revision: u64) -> Header {
    World::new(revision, CATALOG).header()
}

fn basis(world: &World) -> Basis {
    Basis { epoch: world.epoch, revision: Revision(world.revision), hash: world.content }
}

fn one(envelope: &[u8]) -> Sends {
    Sends::Body(bundle([envelope]))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packing = GzEncoder::new(Vec::new(), Compression::best());
    packing.write_all(bytes).unwrap();
    packing.finish().unwrap()
}

/// A change to 99 seats, signed by a key.
fn change(signer: u8, base: &Basis, content: &Hash) -> Vec<u8> {
    let document =
        entitlements_core::document::Document::parse("t", &catalog_with_seats(99)).unwrap();
    let catalog = entitlements_core::Catalog::new(document.catalog).unwrap();
    let delta = Delta { catalog: Some(catalog.into()), ..Delta::default() };
    seal_delta(&key(signer), &header(6), base, content, &delta.encode())
}

type Attack = (&'static str, fn(&World) -> Sends);

/// What stands before the payload of an envelope: magic, key id, signature, length, head.
fn head_length(envelope: &[u8]) -> usize {
    84 + u32::from_le_bytes(envelope[80..84].try_into().unwrap()) as usize
}

const ATTACKS: [Attack; 44] = [
    ("nothing at all", |_| Sends::Body(Vec::new())),
    ("an empty bundle", |_| Sends::Body(b"ENTBNDL1".to_vec())),
    ("text", |_| Sends::Body(b"<html>please sign in</html>".to_vec())),
    ("an envelope outside a bundle", |w| Sends::Body(later(w).snapshot())),
    ("a bundle that is cut off", |w| {
        let whole = bundle([&*later(w).snapshot()]);
        Sends::Body(whole[..whole.len() - 7].to_vec())
    }),
    ("a length beyond everything", |_| {
        Sends::Body([&b"ENTBNDL1"[..], &u64::MAX.to_le_bytes(), b"x"].concat())
    }),
    ("a stripped signature", |w| {
        let mut envelope = later(w).snapshot();
        envelope.drain(16..80);
        one(&envelope)
    }),
    ("a signature of zeros", |w| {
        let mut envelope = later(w).snapshot();
        envelope[16..80].fill(0);
        one(&envelope)
    }),
    ("a signature of something else", |w| {
        let (mut envelope, other) = (later(w).snapshot(), w.heartbeat());
        envelope[16..80].copy_from_slice(&other[16..80]);
        one(&envelope)
    }),
    ("a key id of zeros", |w| {
        let mut envelope = later(w).snapshot();
        envelope[8..16].fill(0);
        one(&envelope)
    }),
    ("an empty head", |w| {
        let mut envelope = later(w).snapshot();
        envelope[80..84].fill(0);
        one(&envelope)
    }),
    ("a head beyond its limit", |w| {
        let mut envelope = later(w).snapshot();
        envelope[80..84].copy_from_slice(&u32::MAX.to_le_bytes());
        one(&envelope)
    }),
    ("another magic", |w| {
        let mut envelope = later(w).snapshot();
        envelope[7] = b'2';
        one(&envelope)
    }),
    ("a stranger's key", |w| one(&World { publisher: [9; 32], ..later(w) }.snapshot())),
    ("the root's own key", |w| one(&World { publisher: [1; 32], ..later(w) }.snapshot())),
    ("another environment", |w| {
        one(&World { environment: "staging".into(), ..later(w) }.snapshot())
    }),
    ("a change for another environment", |w| {
        let header = Header { environment: "staging".into(), ..header(6) };
        one(&seal_delta(&key(2), &header, &basis(w), &w.content, b"{\"format\":1}"))
    }),
    ("an older revision", |w| one(&World { revision: 4, ..later(w) }.snapshot())),
    ("an older epoch", |w| one(&World { epoch: 0, ..later(w) }.snapshot())),
    ("the same revision with another content", |_| {
        one(&World::new(5, &catalog_with_seats(99)).snapshot())
    }),
    ("a document of another revision than its head", |w| {
        let (envelope, later) = (header(6), World::new(7, &catalog_with_seats(99)));
        let _ = w;
        one(&seal_snapshot(&key(2), &envelope, &later.content, &later.document))
    }),
    ("a document with another content than its head", |w| {
        let later = later(w);
        one(&seal_snapshot(&key(2), &header(6), &Hash::of(b"other"), &later.document))
    }),
    ("a payload that was swapped", |w| {
        let (envelope, other) = (later(w).snapshot(), World::new(6, &catalog_with_seats(98)));
        let head = head_length(&envelope);
        one(&[&envelope[..head], &other.document].concat())
    }),
    ("a payload that was made longer", |w| {
        let mut envelope = later(w).snapshot();
        envelope.extend_from_slice(b"more");
        one(&envelope)
    }),
    ("a snapshot of a newer format", |w| {
        let mut later = later(w);
        later.document[8] = 9;
        one(&seal_snapshot(&key(2), &header(6), &later.content, &later.document))
    }),
    ("a change of a newer format", |w| {
        one(&seal_delta(&key(2), &header(6), &basis(w), &w.content, b"{\"format\":9}"))
    }),
    ("signed nonsense", |w| one(&seal_snapshot(&key(2), &header(6), &w.content, b"nonsense"))),
    ("a signed change that is nonsense", |w| {
        one(&seal_delta(&key(2), &header(6), &basis(w), &w.content, b"nonsense"))
    }),
    ("a change by a stranger", |w| one(&change(9, &basis(w), &later(w).content))),
    ("a change of another base", |w| {
        let base = Basis { hash: Hash::of(b"other"), ..basis(w) };
        one(&change(2, &base, &later(w).content))
    }),
    ("a change of another revision", |w| {
        let base = Basis { revision: Revision(4), ..basis(w) };
        one(&change(2, &base, &later(w).content))
    }),
    ("a change that leads to something else", |w| one(&change(2, &basis(w), &Hash::of(b"other")))),
    ("an empty change that claims another content", |w| {
        one(&seal_delta(&key(2), &header(6), &basis(w), &later(w).content, b"{\"format\":1}"))
    }),
    ("changes in the wrong order", |w| {
        let first = change(2, &basis(w), &later(w).content);
        let mixed = Basis { revision: Revision(9), ..basis(w) };
        let second = change(2, &mixed, &later(w).content);
        Sends::Body(bundle([&*second, &*first]))
    }),
    ("a change before the snapshot", |w| {
        let change = change(2, &basis(w), &later(w).content);
        Sends::Body(bundle([&*change, &*later(w).snapshot()]))
    }),
    ("two snapshots at once", |w| {
        let snapshot = later(w).snapshot();
        Sends::Body(bundle([&*snapshot, &*snapshot]))
    }),
    ("a checkpoint of the audit in the place of news", |w| {
        one(&seal_checkpoint(&key(2), &header(6), &w.content))
    }),
    ("a heartbeat for what was never sent", |w| {
        one(&seal_heartbeat(&key(2), &header(6), &w.content, &Tidings::default()))
    }),
    ("a candidate by a stranger", |w| {
        let change = b"{\"format\":1}";
        let what = ("c", 2_000);
        one(&seal_candidate(&key(9), &header(5), &basis(w), &w.content, what, change))
    }),
    ("more than it may be", |w| {
        let mut body = bundle([&*later(w).snapshot()]);
        body.resize(80 * 1_024, 0);
        Sends::Body(body)
    }),
    ("a decompression bomb", |_| Sends::Packed(gzip(&vec![0; 64 * 1_024 * 1_024]))),
    ("gzip that is broken", |w| {
        let mut packed = gzip(&bundle([&*later(w).snapshot()]));
        let middle = packed.len() / 2;
        packed[middle..middle + 8].fill(0xff);
        Sends::Packed(packed)
    }),
    ("an empty key set", |_| Sends::Keys(seal_keys(&root(), "default", 9, &[], now()))),
    ("keys that a publisher named", |_| {
        Sends::Keys(seal_keys(&key(2), "default", 9, &[key(9).public()], now()))
    }),
];

/// Attacks that need what an honest admin said before.
#[tokio::test(flavor = "multi_thread")]
async fn none_of_the_attacks_is_accepted() {
    assert!(ATTACKS.len() >= 40);
    let mut tests = tokio::task::JoinSet::new();
    for chunk in ATTACKS.chunks(4) {
        tests.spawn(async move {
            for (name, attack) in chunk {
                is_refused(name, *attack).await;
            }
        });
    }
    while let Some(done) = tests.join_next().await {
        done.unwrap();
    }
    println!("{} attacks, 0 accepted", ATTACKS.len());
}

async fn is_refused(name: &str, attack: fn(&World) -> Sends) {
    let pair = Pair::ready_with(CATALOG, |config| config.snapshot_bytes_max = 64 * 1_024).await;
    pair.upstream.publish(5, CATALOG);
    pair.sidecar.wait_revision(Revision(5), PATIENCE).await.unwrap();
    let before = refusals(&pair).await;
    pair.upstream.change(|world| match attack(world) {
        Sends::Body(body) => {
            world.forged_answer = Some(Forged { headers: Vec::new(), body });
        }
        Sends::Packed(body) => {
            let headers = vec![("content-encoding", "gzip".to_owned())];
            world.forged_answer = Some(Forged { headers, body });
        }
        Sends::Keys(keys) => {
            world.forged_keys = Some(keys);
            // What is not believed has the sidecar ask who may publish.
            let forged = World { publisher: [9; 32], ..later(world) }.snapshot();
            world.forged_snapshot = Some(forged);
        }
    });
    let waited = async {
        while refusals(&pair).await < before + 2 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, waited).await.is_err() {
        panic!("{name}: {}", pair.web.get("/metrics").await.text());
    }
    let pin = pair.sidecar.entitlements().pin();
    let seats = pin.check("acme", "seats", Timestamp::from_micros(1_800_000_000_000_000));
    assert_eq!((pin.revision(), seats.verdict().to_string()), (Revision(5), "15".into()), "{name}");
    // An honest admin is believed again.
    pair.upstream.change(|world| {
        (world.forged_answer, world.forged_keys, world.forged_snapshot) = (None, None, None);
        world.holds(7, &catalog_with_seats(20));
        world.revision = 7;
    });
    let back = pair.sidecar.wait_revision(Revision(7), PATIENCE * 3).await;
    assert!(back.is_ok(), "{name}: {back:?}");
    pair.sidecar.stop().await;
}

/// How often something was refused, or was no answer at all.
async fn refusals(pair: &Pair) -> u64 {
    let text = pair.web.get("/metrics").await.text();
    let counters = text.lines().filter(|line| {
        line.starts_with("entitlements_sidecar_refusals_total")
            || line.starts_with("entitlements_sidecar_sync_errors_total{cause=\"malformed\"}")
    });
    counters.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}
