//! Fills an empty database: one import for the catalog, one for all clinics.

use entitlements_admin::app::{Actor, App, Command};
use entitlements_core::document::Document;

use crate::tenants::tenants;

/// How many clinics there are.
const TENANTS: usize = 2_000;

/// Imports what is not there yet. What somebody changed since stays changed.
pub(crate) async fn seed(app: &App) -> Result<(), String> {
    if app.catalog().await.map_err(|error| error.to_string())?.is_none() {
        let document = Document::parse("clinic.toml", include_str!("clinic.toml"))
            .map_err(|error| error.to_string())?;
        let draft = Box::new(document.catalog);
        println!(
            "Importing the catalog: {} features in {} modules, {} plans, {} add-ons, {} promotions.",
            draft.features.len(),
            draft.modules.len(),
            draft.plans.len(),
            draft.add_ons.len(),
            draft.promotions.len(),
        );
        execute(app, Command::ImportAll { draft, tenants: Default::default() }).await?;
    }
    if app.pin().tenant_count() == 0 {
        println!("Adding {TENANTS} clinics in 12 countries.");
        let tenants = tenants(TENANTS, app.now()).collect();
        execute(app, Command::BulkTenants { tenants }).await?;
    }
    Ok(())
}

async fn execute(app: &App, command: Command) -> Result<(), String> {
    let done = app.execute(&Actor::local("demo"), command).await;
    done.map(drop).map_err(|error| match error {
        entitlements_admin::app::Error::InvalidCatalog(problems)
        | entitlements_admin::app::Error::InvalidTenants(problems) => {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            lines.join("; ")
        }
        error => error.to_string(),
    })
}
