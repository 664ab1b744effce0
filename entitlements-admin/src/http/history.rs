//! What was there before: every version of an object, who made it so, and what was different.

use axum::{extract::State, http::StatusCode};
use entitlements_core::{Draft, Revision, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::{
    extract::{Params, Segments},
    problem::{Code, Problem},
    reply::{self, Reply},
};
use crate::{
    app::{App, Error},
    store::Past,
    workflow::{
        Kind, ObjectId,
        draft::{self, FieldChange},
    },
};

/// A page of a history.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Only what was before this commit: the `next` of the page before.
    #[serde(default)]
    before: Option<u64>,
    /// How many at most, from 1 to 200.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 200))]
    limit: u32,
    /// Of the catalog: only what was done to this object of it, such as `plans.pro`.
    #[serde(default)]
    object: Option<String>,
}

fn default_limit() -> u32 {
    50
}

#[derive(Serialize, JsonSchema)]
pub(super) struct List {
    versions: Vec<Item>,
    /// What to give as `before` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Revision>,
}

/// One version.
#[derive(Serialize, JsonSchema)]
struct Item {
    revision: Revision,
    at: Timestamp,
    actor: String,
    command: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What is different from the version before it, field by field.
    #[schemars(with = "Vec<Value>")]
    changes: Vec<FieldChange>,
    /// The document; absent where the object was removed, and for the catalog.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    document: Option<Box<RawValue>>,
}

/// The kinds whose history is shown to those who may read tenants and catalog.
const KINDS: [Kind; 6] =
    [Kind::Catalog, Kind::Tenant, Kind::Draft, Kind::Setting, Kind::Barrier, Kind::Sink];

/// The versions of an object, newest first.
pub(super) async fn list(
    State(app): State<App>,
    Segments((kind, key)): Segments<(String, String)>,
    Params(query): Params<Query>,
) -> Reply {
    let kind: Kind = kind.parse().map_err(|error| Problem::new(Code::InvalidRequest, error))?;
    if !KINDS.contains(&kind) {
        let detail = format!("the history of a {} stands in the audit", kind.code());
        return Err(Problem::new(Code::NotFound, detail));
    }
    if !(1..=200).contains(&query.limit) {
        let detail = format!("`limit={}` is not a page: use 1 to 200", query.limit);
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let before = query.before.map_or(Revision(u64::MAX), Revision);
    let id = ObjectId::new(kind, key);
    // One more than is shown: the last one is compared with it.
    let past = app.history(id.clone(), before, query.limit + 1).await?;
    if past.is_empty() && query.before.is_none() {
        let detail = format!("there never was {}", id.for_people());
        return Err(Problem::new(Code::NotFound, detail));
    }
    let more = past.len() > query.limit as usize;
    let next = past.get(query.limit as usize - 1).filter(|_| more);
    let next = next.map(|past| past.version.revision);
    let mut versions = Vec::new();
    for (place, one) in past.iter().take(query.limit as usize).enumerate() {
        let earlier = past.get(place + 1).and_then(|past| past.version.json.as_deref());
        versions.push(item(kind, one, earlier)?);
    }
    if let Some(object) = &query.object {
        let within = format!("{object}.");
        for version in &mut versions {
            version.changes.retain(|c| c.path == *object || c.path.starts_with(&within));
        }
        versions.retain(|version| !version.changes.is_empty());
    }
    reply::json(StatusCode::OK, app.revision(), &List { versions, next })
}

fn item(kind: Kind, past: &Past, earlier: Option<&str>) -> Result<Item, Problem> {
    let json = past.version.json.as_deref();
    let corrupt = |error: serde_json::Error| {
        Problem::from(Error::Unavailable(format!("revision {}: {error}", past.version.revision)))
    };
    let changes = match kind {
        Kind::Catalog => {
            let read = |json: Option<&str>| serde_json::from_str(json.unwrap_or("{}"));
            let (before, after): (Draft, Draft) =
                (read(earlier).map_err(corrupt)?, read(json).map_err(corrupt)?);
            draft::changes(&before, &after).0
        }
        _ => {
            let read = |json: Option<&str>| json.map(serde_json::from_str::<Value>).transpose();
            draft::differences(
                read(earlier).map_err(corrupt)?.as_ref(),
                read(json).map_err(corrupt)?.as_ref(),
            )
        }
    };
    // A catalog is long, and can be asked for by its revision.
    let document = json.filter(|_| kind != Kind::Catalog);
    let document = document.map(|json| RawValue::from_string(json.into())).transpose();
    Ok(Item {
        revision: past.version.revision,
        at: past.at,
        actor: past.actor.clone(),
        command: past.command.clone(),
        reason: past.reason.clone(),
        changes,
        document: document.map_err(corrupt)?,
    })
}
