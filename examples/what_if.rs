//! Who gains or loses what if the catalog changes: `cargo run --example what_if`.

use std::{error::Error, sync::Arc};

use entitlements_core::{Catalog, Revision, Snapshot, Timestamp, document::Document};

const NOW: &str = r#"
    [features.seats]
    kind = { limit = { unit = "seat" } }
    [features.reports]
    kind = "switch"
    [features.support]
    kind = { level = { levels = ["mail", "phone", "manager"] } }

    [plans.basic]
    grants = { seats = 3, support = "mail" }
    [plans.pro]
    extends = "basic"
    grants = { seats = 10, reports = true, support = "phone" }

    [tenants.acme]
    subscriptions = [{ plan = "pro" }]
    [tenants.small]
    subscriptions = [{ plan = "basic" }]
    [tenants.kept]
    subscriptions = [{ plan = "pro" }]
    overrides = [{ feature = "seats", amount = 25 }]
"#;

/// What somebody would like to sell instead.
const DRAFT: &str = r#"
    [features.seats]
    kind = { limit = { unit = "seat" } }
    [features.reports]
    kind = "switch"
    [features.support]
    kind = { level = { levels = ["mail", "phone", "manager"] } }

    [plans.basic]
    grants = { seats = 5, support = "mail" }
    [plans.pro]
    extends = "basic"
    grants = { seats = 8, support = "manager" }
"#;

fn catalog(name: &str, text: &str) -> Result<Arc<Catalog>, Box<dyn Error>> {
    Ok(Arc::new(Document::parse(name, text)?.check()?))
}

fn main() -> Result<(), Box<dyn Error>> {
    let at = Timestamp::parse("2026-06-15T12:00:00Z")?;
    let tenants = Document::parse("now.toml", NOW)?.tenants;
    let before = Snapshot::compile(Revision(1), catalog("now.toml", NOW)?, &tenants, at);
    let after = before.with_catalog(Revision(2), catalog("draft.toml", DRAFT)?, at);

    println!("{:<8} {:<10} {:<8} {:>10} {:>10}", "tenant", "feature", "", "now", "then");
    for change in before.changes(&after, at) {
        let direction = format!("{:?}", change.direction(&after)).to_lowercase();
        println!(
            "{:<8} {:<10} {direction:<8} {:>10} {:>10}",
            change.tenant,
            change.feature.as_str(),
            change.before.to_string(),
            change.after.to_string()
        );
    }
    Ok(())
}
