//! Follows a catalog file and tells of each change: `cargo run --example watch -- FILE TENANT`.
//!
//! Change the file while it runs. A mistake is told of, and the last good catalog stays in use.

use std::{error::Error, sync::mpsc, time::SystemTime};

use entitlements_core::{Entitlements, Timestamp, watch::WatchEvent};

#[expect(
    clippy::disallowed_methods,
    reason = "this is the place where the example reads the clock"
)]
fn now() -> Timestamp {
    SystemTime::now().into()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(tenant)) = (arguments.next(), arguments.next()) else {
        return Err("usage: watch FILE TENANT, such as `scenarios/combination.toml plain`".into());
    };
    let (sender, events) = mpsc::channel();
    let watch = Entitlements::watch(path, now, move |event| _ = sender.send(event))?;
    tell(watch.entitlements(), &tenant);
    for event in events {
        match event {
            WatchEvent::Published(_) => tell(watch.entitlements(), &tenant),
            WatchEvent::Kept(error) => eprintln!("the last good one stays in use:\n{error}"),
        }
    }
    Ok(())
}

fn tell(entitlements: &Entitlements, tenant: &str) {
    let world = entitlements.pin();
    let Some(view) = world.tenant(tenant) else {
        return println!("reading {}: there is no tenant `{tenant}`", world.revision());
    };
    println!("reading {}: {tenant} has", world.revision());
    for (feature, decision) in view.decisions(now()).filter(|(_, decision)| decision.is_allowed()) {
        println!("  {feature}: {} ({})", decision.verdict(), decision.reason());
    }
}
