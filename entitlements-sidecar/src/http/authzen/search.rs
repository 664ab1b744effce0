//! Searches: who may, what may they use, what may they do.
//!
//! Results come in pages by key. A page's token names the revision that it was answered from; the
//! next page is answered from the same one, or says that it is held no more.

use std::{collections::BTreeSet, sync::Arc};

use entitlements_core::{Revision, Snapshot, Timestamp};
use serde_json::{Map, Value, json};

use super::{Authzen, Fault, mapping::Mapping, permits, request::Parts};
use crate::{
    answer::Answer,
    http::{
        Route,
        asking::Asking,
        reply::{Reply, json as json_reply},
        view::View,
    },
    standing::State,
};

const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// Where a page starts and how long it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Page {
    after: Option<(Revision, String)>,
    limit: usize,
}

pub(super) async fn search(
    authzen: &Authzen,
    asking: &Asking<'_>,
    route: Route,
    object: &Map<String, Value>,
) -> Result<Reply, Fault> {
    let parts = Parts::of(object, &Parts::default());
    let page = page(object)?;
    let pinned = match &page.after {
        None => None,
        Some((revision, _)) => Some(held(asking, *revision)?),
    };
    let asking = Asking { serving: asking.serving, pinned: pinned.or(asking.pinned.clone()) };
    let view = View::new(&asking)?;
    let sought = sought(authzen, route, &parts)?;
    let world = World { snapshot: view.snapshot(), at: view.now.at, state: view.state };
    let mapping = authzen.mapping.clone();
    let after = page.after.map(|(_, key)| key);
    // It may look at every tenant: not on a thread that serves others.
    let found = tokio::task::spawn_blocking(move || {
        find(&mapping, &world, &sought, after.as_deref(), page.limit)
    });
    let (ids, more) = found
        .await
        .map_err(|error| Fault(hyper::StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let next = match (more, ids.last()) {
        (true, Some((last, _))) => format!("{}~{last}", view.revision()),
        _ => String::new(),
    };
    let results: Vec<Value> = ids.into_iter().map(|(_, result)| result).collect();
    let body = json!({
        "results": results,
        "page": { "next_token": next, "count": results.len() },
        "context": { "revision": view.revision(), "state": view.state.code() },
    });
    Ok(view.stamp(json_reply(body.to_string().into_bytes())))
}

fn held(asking: &Asking<'_>, revision: Revision) -> Result<Arc<Snapshot>, Fault> {
    asking.serving.held(revision).ok_or_else(|| {
        Fault::bad(format!(
            "the pages began at revision {revision}, which is held no more: start the search again"
        ))
    })
}

fn page(object: &Map<String, Value>) -> Result<Page, Fault> {
    let page = match object.get("page") {
        None | Some(Value::Null) => return Ok(Page { after: None, limit: LIMIT }),
        Some(Value::Object(page)) => page,
        Some(_) => return Err(Fault::bad("`page` must be an object")),
    };
    let limit = match page.get("limit") {
        None => LIMIT,
        Some(limit) => limit
            .as_u64()
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| *limit > 0)
            .ok_or_else(|| Fault::bad("`page.limit` must be a whole number from 1 on"))?,
    };
    let after = match page.get("token") {
        None => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(token) => {
            let parsed = token.as_str().and_then(|text| {
                let (revision, key) = text.split_once('~')?;
                Some((Revision(revision.parse().ok()?), key.to_owned()))
            });
            Some(parsed.ok_or_else(|| Fault::bad("`page.token` is none that was given here"))?)
        }
    };
    Ok(Page { after, limit: limit.min(LIMIT_MAX) })
}

/// What is looked for.
enum Sought {
    /// Subjects of a type that may do something; where they are no tenants, those that are known.
    Subjects { parts: Parts, kind: String, feature: Option<String>, quantity: Option<u64> },
    /// Resources of a type that a tenant may do something to.
    Resources { parts: Parts, kind: String, tenant: Option<String>, quantity: Option<u64> },
    /// Actions that a tenant may do to a resource.
    Actions { parts: Parts, kind: String, tenant: Option<String>, quantity: Option<u64> },
}

fn sought(authzen: &Authzen, route: Route, parts: &Parts) -> Result<Sought, Fault> {
    let (parts, mapping) = (parts.clone(), &authzen.mapping);
    let quantity = parts.quantity().map_err(Fault::bad)?;
    match route {
        Route::AuthzenSearchSubject => {
            let resource = parts.identified_resource().map_err(Fault::bad)?;
            let action = parts.action().map_err(Fault::bad)?;
            let kind = parts.subject().map_err(Fault::bad)?.kind;
            let feature = mapping.feature(&action, &resource);
            Ok(Sought::Subjects { parts, kind, feature, quantity })
        }
        Route::AuthzenSearchResource => {
            let subject = parts.identified_subject().map_err(Fault::bad)?;
            parts.action().map_err(Fault::bad)?;
            let kind = parts.resource().map_err(Fault::bad)?.kind;
            let tenant = mapping.tenant(&subject);
            Ok(Sought::Resources { parts, kind, tenant, quantity })
        }
        _ => {
            let subject = parts.identified_subject().map_err(Fault::bad)?;
            let kind = parts.identified_resource().map_err(Fault::bad)?.kind;
            if parts.has_action() {
                return Err(Fault::bad("a search for actions takes no `action`"));
            }
            let tenant = mapping.tenant(&subject);
            Ok(Sought::Actions { parts, kind, tenant, quantity })
        }
    }
}

/// What is searched.
struct World {
    snapshot: Snapshot,
    at: Timestamp,
    state: State,
}

impl World {
    fn permits(&self, tenant: &str, feature: &str, quantity: Option<u64>) -> bool {
        let decision = self.snapshot.check(tenant, feature, self.at);
        let answer = Answer::new(&decision, self.snapshot.catalog(), feature, self.state);
        permits(&answer, quantity)
    }
}

type Found = (String, Value);

/// At most `limit` of what is looked for, by key, and whether there is more.
fn find(
    mapping: &Mapping,
    world: &World,
    sought: &Sought,
    after: Option<&str>,
    limit: usize,
) -> (Vec<Found>, bool) {
    let is_later = |key: &str| after.is_none_or(|after| key > after);
    let keys: BTreeSet<String> = match sought {
        Sought::Subjects { kind, feature: Some(feature), quantity, .. }
            if mapping.are_tenants(kind) =>
        {
            let mut keys: BTreeSet<String> = BTreeSet::new();
            for view in world.snapshot.tenants() {
                // Only as many are kept as are sent, and one more.
                let key = view.key();
                let is_too_late =
                    keys.len() > limit && keys.last().is_some_and(|last| key > last.as_str());
                if is_later(key) && !is_too_late && world.permits(key, feature, *quantity) {
                    keys.insert(key.to_owned());
                    if keys.len() > limit + 1 {
                        keys.pop_last();
                    }
                }
            }
            keys
        }
        _ => {
            let named = candidates(mapping, world, sought).into_iter();
            named
                .filter(|key| is_later(key))
                .filter(|key| holds(mapping, world, sought, key))
                .collect()
        }
    };
    let more = keys.len() > limit;
    let result = |key: String| {
        let shown = match sought {
            Sought::Subjects { kind, .. } | Sought::Resources { kind, .. } => {
                json!({ "type": kind, "id": key })
            }
            Sought::Actions { .. } => json!({ "name": key }),
        };
        (key, shown)
    };
    (keys.into_iter().take(limit).map(result).collect(), more)
}

/// Everything that may be an answer.
fn candidates(mapping: &Mapping, world: &World, sought: &Sought) -> Vec<String> {
    let owned = |names: &mut dyn Iterator<Item = &str>| names.map(str::to_owned).collect();
    match sought {
        Sought::Subjects { kind, .. } => {
            mapping.subjects(kind).map_or_else(Vec::new, |mut names| owned(&mut names))
        }
        Sought::Resources { kind, .. } if mapping.are_features(kind) => {
            let keys = world.snapshot.catalog().draft().features.keys();
            owned(&mut keys.map(|key| key.as_str()))
        }
        Sought::Resources { kind, .. } => {
            mapping.resources(kind).map_or_else(Vec::new, |mut names| owned(&mut names))
        }
        Sought::Actions { kind, .. } => owned(&mut mapping.actions(kind).into_iter()),
    }
}

/// Whether one of them is.
fn holds(mapping: &Mapping, world: &World, sought: &Sought, key: &str) -> bool {
    let named = |mut entity: super::request::Entity| {
        entity.id = Some(key.to_owned());
        entity
    };
    let (tenant, feature, quantity) = match sought {
        Sought::Subjects { parts, feature, quantity, .. } => {
            let Ok(subject) = parts.subject() else { return false };
            (mapping.tenant(&named(subject)), feature.clone(), *quantity)
        }
        Sought::Resources { parts, tenant, quantity, .. } => {
            let (Ok(resource), Ok(action)) = (parts.resource(), parts.action()) else {
                return false;
            };
            (tenant.clone(), mapping.feature(&action, &named(resource)), *quantity)
        }
        Sought::Actions { parts, tenant, quantity, .. } => {
            let Ok(resource) = parts.resource() else { return false };
            let action = super::request::Action { name: key.to_owned(), properties: Map::new() };
            (tenant.clone(), mapping.feature(&action, &resource), *quantity)
        }
    };
    match (tenant, feature) {
        (Some(tenant), Some(feature)) => world.permits(&tenant, &feature, quantity),
        _ => false,
    }
}
