//! `catalog plan`: what would change, and for whom.

use std::{path::Path, process::ExitCode, sync::Arc};

use entitlements_admin::{
    app::Preview,
    clock::Clock,
    workflow::draft::{self, Changes},
};
use entitlements_core::{Catalog, Draft, Problem, Revision, Snapshot, document::Document};
use serde::Serialize;

use super::{
    checked, folder,
    lock::Lock,
    remote::{Live, Remote, Verdict},
    show,
};
use crate::cli::{Failure, PlanArguments};

/// That there is a change, which is no failure but stops a pipeline that asks for it.
const EXIT_CHANGE: u8 = 2;

/// What would change, and for whom.
#[derive(Debug, Serialize)]
struct Plan {
    /// With what it was compared.
    against: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    /// The revision of the live catalog.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    /// The hash of the content that it was compared with.
    hash: String,
    changes: Changes,
    problems: Vec<Problem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    needs_approval: Option<bool>,
    /// The effect on tenants, where there are tenants to tell it of.
    #[serde(skip_serializing_if = "Option::is_none")]
    impact: Option<Preview>,
    /// What else to know before it is applied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// Runs the command.
pub(super) fn run(arguments: &PlanArguments) -> Result<ExitCode, Failure> {
    let wanted = checked(&arguments.folder)?;
    let plan = if Remote::is_url(&arguments.against) {
        live(arguments, &wanted.catalog)?
    } else {
        offline(arguments, &wanted)?
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&plan).map_err(Failure::failed)?);
    } else {
        print(&plan);
    }
    match (plan.problems.is_empty(), plan.changes.0.is_empty()) {
        (false, _) => Err(Failure::failed("the control plane finds mistakes in the catalog")),
        (true, true) => Ok(ExitCode::SUCCESS),
        (true, false) => Ok(EXIT_CHANGE.into()),
    }
}

fn live(arguments: &PlanArguments, wanted: &Draft) -> Result<Plan, Failure> {
    if arguments.tenants.is_some() {
        return Err(Failure::Usage(
            "`--tenants` is for files: a control plane knows its own tenants".into(),
        ));
    }
    let remote = Remote::new(&arguments.against, &arguments.key)?;
    let live = remote.live()?;
    let Verdict { revision, changes, problems, needs_approval, impact } = remote.plan(wanted)?;
    if revision != live.revision {
        return Err(Failure::failed("the live catalog changed just now: plan again"));
    }
    let mut notes = Vec::new();
    if !changes.0.is_empty() {
        notes.extend(stranger(&arguments.folder, &live)?);
        if needs_approval {
            notes.push("It needs approval: apply it with `--draft NAME`.".into());
        }
    }
    Ok(Plan {
        against: remote.url().into(),
        environment: Some(live.environment),
        revision: Some(revision),
        hash: live.hash.to_string(),
        changes,
        problems,
        needs_approval: Some(needs_approval),
        impact,
        notes,
    })
}

/// That `apply` will not run over this catalog by itself.
fn stranger(folder: &Path, live: &Live) -> Result<Option<String>, Failure> {
    let lock = if folder.is_dir() { Lock::read(folder)? } else { None };
    let seen = lock.as_ref().and_then(|lock| lock.of(&live.environment));
    let revision = live.revision;
    Ok(match seen {
        Some(seen) if seen.knows(&live.hash) => None,
        Some(seen) => Some(format!(
            "The live catalog was changed elsewhere since revision {}, which these files follow: \
             `apply` takes `--seen {revision}`, or export it first.",
            seen.revision
        )),
        None if revision == 0 => None,
        None => Some(format!(
            "These files do not follow the live catalog yet: `apply` takes `--seen {revision}`."
        )),
    })
}

fn offline(arguments: &PlanArguments, wanted: &Document) -> Result<Plan, Failure> {
    let before = folder::read(Path::new(&arguments.against))?;
    let changes = draft::changes(&before.catalog, &wanted.catalog);
    let hash = before.catalog.content_hash().map_err(Failure::failed)?;
    let impact = match &arguments.tenants {
        None => None,
        Some(path) => {
            before.check().map_err(Failure::failed)?;
            Some(effect(arguments, before.catalog, &wanted.catalog, &folder::read(path)?)?)
        }
    };
    Ok(Plan {
        against: arguments.against.clone(),
        environment: None,
        revision: None,
        hash: hash.to_string(),
        changes,
        problems: Vec::new(),
        needs_approval: None,
        impact,
        notes: Vec::new(),
    })
}

fn effect(
    arguments: &PlanArguments,
    before: Draft,
    after: &Draft,
    tenants: &Document,
) -> Result<Preview, Failure> {
    let at = arguments.at.unwrap_or_else(|| Clock::default().now());
    let before = Arc::new(Catalog::new(before).map_err(Failure::failed)?);
    let after = Arc::new(Catalog::new(after.clone()).map_err(Failure::failed)?);
    let snapshot = Snapshot::compile(Revision(0), before, &tenants.tenants, at);
    Ok(Preview::of(&snapshot, &after, None, at))
}

fn print(plan: &Plan) {
    let Plan { against, environment, revision, changes, problems, impact, notes, .. } = plan;
    let place = match (environment, revision) {
        (Some(environment), Some(revision)) => {
            format!("{against} ({environment}, revision {revision})")
        }
        _ => against.clone(),
    };
    if changes.0.is_empty() {
        println!("Nothing would change: {place} has this catalog.");
    } else {
        println!("{} to {place}:\n", show::count(changes.0.len(), "change", "changes"));
        println!("{}", show::changes(changes));
        match impact {
            Some(impact) => print!("{}", show::Effect(impact)),
            None if revision.is_none() => println!("Whom it touches: give `--tenants PATH`."),
            None => {}
        }
    }
    problems.iter().for_each(|problem| eprintln!("{problem}"));
    notes.iter().for_each(|note| println!("\n{note}"));
}
