//! Whatever keeps the admin's word away, a sidecar says how old what it knows is.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::support::{
    CATALOG, PATIENCE, Pair,
    upstream::{Upstream, World},
};
use entitlements_core::Revision;

/// A pair whose snapshot may be a second old at the most.
async fn short_lived() -> Pair {
    let pair = Pair::ready_with(CATALOG, |config| config.poll_wait_s = 1).await;
    pair.upstream.change(|world| {
        (world.max_age_s, world.revision) = (Some(1), 2);
        world.holds(2, CATALOG);
    });
    pair.sidecar.wait_revision(Revision(2), PATIENCE).await.unwrap();
    pair
}

/// It says that it expired in answers, metrics and readiness, and how old it is.
async fn says_that_it_expired(pair: &Pair) {
    let ready = pair.web.state("EXPIRED").await;
    // Whole milliseconds, rounded down: a thousand of them may be the first instant past the second.
    assert!(ready["age_ms"].as_u64().unwrap() >= 1_000, "{ready}");
    assert_eq!(pair.web.get("/readyz").await.status, 503);
    let answer = pair.web.check("acme", "vault").await;
    assert_eq!((&answer["state"], &answer["reason"]), (&"EXPIRED".into(), &"stale".into()));
    assert_eq!(pair.web.count("entitlements_sidecar_state{state=\"EXPIRED\"}").await, 1);
}

#[tokio::test]
async fn the_same_heartbeat_again_and_again_is_no_sign_of_life() {
    let pair = short_lived().await;
    let old = pair.upstream.world().heartbeat();
    pair.upstream.change(|world| world.forged_heartbeat = Some(old));
    says_that_it_expired(&pair).await;
    // The admin answers all the while, each time as soon as it is asked.
    let asked = pair.upstream.world().changes_asked;
    pair.upstream.asked(asked + 2).await;
    says_that_it_expired(&pair).await;
    pair.upstream.change(|world| (world.forged_heartbeat, world.max_age_s) = (None, Some(300)));
    pair.web.state("FRESH").await;
}

#[tokio::test]
async fn an_admin_that_takes_reports_and_says_nothing_is_no_sign_of_life() {
    let pair = short_lived().await;
    pair.upstream.change(|world| world.changes_answered_max = world.changes_asked);
    says_that_it_expired(&pair).await;
    let reports = pair.upstream.world().reports.len();
    assert!(reports > 0, "it takes note of what the sidecar says");
}

/// Passes bytes on both ways until it is told to freeze. Then connections stay open and nothing comes
/// through, as where a machine vanished from the network.
async fn half_open(to: String, frozen: watch::Receiver<bool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(to.strip_prefix("http://").unwrap()).await.unwrap();
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(pass_on(near_in, far_out, frozen.clone()));
            tokio::spawn(pass_on(far_in, near_out, frozen.clone()));
        }
    });
    addr
}

async fn pass_on(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut frozen: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1_024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if frozen.wait_for(|frozen| !frozen).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_half_open_is_no_sign_of_life() {
    let mut world = World::new(1, CATALOG);
    world.max_age_s = Some(1);
    let upstream = Upstream::start_as(world).await;
    let (freeze, frozen) = watch::channel(false);
    let between = format!("http://{}", half_open(upstream.url(), frozen).await);
    let pair = Pair::ready_between(upstream, &between, |config| config.poll_wait_s = 1).await;
    freeze.send_replace(true);
    says_that_it_expired(&pair).await;
    pair.upstream.change(|world| world.max_age_s = Some(300));
    freeze.send_replace(false);
    pair.web.state("FRESH").await;
}
