//! A catalog, a tenant, a check and why: `cargo run --example quickstart`.

use std::{error::Error, sync::Arc};

use entitlements_core::{
    Entitlements, FeatureHandle, Revision, Snapshot, Timestamp, document::Document,
};

const CATALOG: &str = r#"
    [features.invoices]
    kind = { limit = { unit = "invoice" } }
    [features.reports]
    kind = "switch"
    requires = ["invoices"]

    [plans.pro]
    grants = { invoices = 100, reports = true }
    [add_ons.more-invoices]
    grants = { invoices = "+50" }

    [tenants.acme]
    subscriptions = [{ plan = "pro" }]
    add_ons = [{ add_on = "more-invoices", quantity = 2, window = { from = 2026-02-01T00:00:00Z } }]
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let document = Document::parse("quickstart.toml", CATALOG)?;
    let catalog = Arc::new(document.check()?);
    let now = Timestamp::parse("2026-06-15T12:00:00Z")?;
    let live = Entitlements::new(Snapshot::compile(Revision(1), catalog, &document.tenants, now));

    // Pin one world for a request, look the tenant up once, ask as often as you like.
    let invoices = FeatureHandle::new("invoices");
    let world = live.pin();
    let acme = world.tenant("acme").ok_or("there is no such tenant")?;
    let decision = acme.check(&invoices, now);
    println!("acme may write {} invoices, by {}", decision.verdict(), decision.reason());
    println!("150 written, one more? {}", decision.permits(150, 1));
    println!("200 written, one more? {}", decision.permits(200, 1));
    println!("reports? {}", acme.check("reports", now).verdict());

    println!("\nWhy so many?");
    for part in acme.explain("invoices", now).contributions {
        println!("  {:<24} {:>6}  {:?}", part.source, part.amount, part.standing);
    }
    Ok(())
}
