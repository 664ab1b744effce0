//! What begins and ends by itself: promotions, exceptions, trials.
//!
//! Whether a tenant may use something changes at these instants on every node without a message.
//! People want to hear of it all the same, and some days ahead.

use std::time::Duration;

use entitlements_core::{Draft, Override, Promotion, Subscription, Tenant, Timestamp, Window};
use serde::{Deserialize, Serialize};

use super::{
    notice::{Event, OverrideEdge, PromotionEdge, TrialEdge},
    settings::Setting,
};

/// How far the edges were looked at. The control plane writes it, nobody sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EdgesSeen {
    /// Edges at or before this instant were told of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<Timestamp>,
}

impl Setting for EdgesSeen {
    const NAME: &'static str = "edges_seen";

    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Something that begins or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// When.
    pub at: Timestamp,
    /// What it is about.
    pub subject: String,
    /// Of which tenant, where it is about one.
    pub tenant: Option<String>,
    /// What happens.
    pub event: Event,
}

/// The edges of a time, and the first one after it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edges {
    /// Those of the time, by instant and subject.
    pub due: Vec<Edge>,
    /// The first one after it.
    pub next: Option<Timestamp>,
}

/// Looks for the edges after an instant and not after another. `lead` is how long before an end
/// people want to hear of it.
#[must_use]
pub fn edges<'t>(
    catalog: &Draft,
    tenants: impl IntoIterator<Item = (&'t str, Tenant)>,
    lead: Duration,
    (after, until): (Timestamp, Timestamp),
) -> Edges {
    let mut found = Found { after, until, lead, edges: Edges::default() };
    for (key, promotion) in &catalog.promotions {
        found.promotion(key.as_str(), promotion);
    }
    for (key, tenant) in tenants {
        let name = tenant.name.as_deref().unwrap_or(key);
        for (number, word) in tenant.overrides.iter().enumerate() {
            found.word(key, name, number, word);
        }
        for (number, subscription) in tenant.subscriptions.iter().enumerate() {
            if subscription.trial {
                found.trial(key, name, number, subscription);
            }
        }
    }
    found.edges.due.sort_by(|a, b| (a.at, &a.subject).cmp(&(b.at, &b.subject)));
    found.edges
}

struct Found {
    after: Timestamp,
    until: Timestamp,
    lead: Duration,
    edges: Edges,
}

impl Found {
    fn note(&mut self, at: Timestamp, edge: impl FnOnce() -> Edge) {
        if at > self.until {
            self.edges.next = Some(self.edges.next.map_or(at, |next| next.min(at)));
        } else if at > self.after {
            self.edges.due.push(edge());
        }
    }

    /// The instant at which to say that something ends soon. What is shorter than that is over so
    /// soon that nobody needs to hear of it twice.
    fn soon(&self, window: &Window) -> Option<Timestamp> {
        let soon = window.until?.minus(self.lead);
        (soon > window.start()).then_some(soon)
    }

    fn promotion(&mut self, key: &str, promotion: &Promotion) {
        let window = &promotion.window;
        if window.is_empty() {
            return;
        }
        let edge = PromotionEdge {
            promotion: key.into(),
            name: if promotion.name.is_empty() { key.into() } else { promotion.name.clone() },
            from: window.from,
            until: window.until,
        };
        let edge = |at, event: fn(PromotionEdge) -> Event| Edge {
            at,
            subject: format!("promotion/{key}"),
            tenant: None,
            event: event(edge.clone()),
        };
        if let Some(from) = window.from {
            self.note(from, || edge(from, Event::PromotionStarted));
        }
        if let Some(soon) = self.soon(window) {
            self.note(soon, || edge(soon, Event::PromotionEndsSoon));
        }
        if let Some(end) = window.until {
            self.note(end, || edge(end, Event::PromotionEnded));
        }
    }

    fn word(&mut self, key: &str, name: &str, number: usize, word: &Override) {
        let Some(end) = word.window.until.filter(|_| !word.window.is_empty()) else { return };
        let edge = |at, event: fn(OverrideEdge) -> Event| Edge {
            at,
            subject: format!("tenant/{key}/override/{}/{number}", word.feature),
            tenant: Some(key.into()),
            event: event(OverrideEdge {
                tenant: key.into(),
                tenant_name: name.into(),
                feature: word.feature.to_string(),
                until: end,
                author: word.author.as_deref().map(Into::into),
                note: word.note.as_deref().map(Into::into),
            }),
        };
        if let Some(soon) = self.soon(&word.window) {
            self.note(soon, || edge(soon, Event::OverrideEndsSoon));
        }
        self.note(end, || edge(end, Event::OverrideEnded));
    }

    fn trial(&mut self, key: &str, name: &str, number: usize, trial: &Subscription) {
        let Some(end) = trial.window.until.filter(|_| !trial.window.is_empty()) else { return };
        let edge = |at, event: fn(TrialEdge) -> Event| Edge {
            at,
            subject: format!("tenant/{key}/trial/{}/{number}", trial.plan),
            tenant: Some(key.into()),
            event: event(TrialEdge {
                tenant: key.into(),
                tenant_name: name.into(),
                plan: trial.plan.to_string(),
                until: end,
            }),
        };
        if let Some(soon) = self.soon(&trial.window) {
            self.note(soon, || edge(soon, Event::TrialEndsSoon));
        }
        self.note(end, || edge(end, Event::TrialEnded));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    const CATALOG: &str = r#"
        [promotions.spring]
        name = "Spring"
        window = { from = "2026-03-01T00:00:00Z", until = "2026-04-01T00:00:00Z" }
        [promotions.short]
        window = { from = "2026-03-10T00:00:00Z", until = "2026-03-12T00:00:00Z" }
        [promotions.always]
    "#;
    const ACME: &str = r#"{"name":"Acme","subscriptions":[{"plan":"pro","trial":true,
        "window":{"until":"2026-03-20T00:00:00Z"}},{"plan":"pro","window":{"until":
        "2026-03-21T00:00:00Z"}}],"overrides":[{"feature":"sso","amount":true,
        "window":{"until":"2026-03-15T00:00:00Z"},"note":"goodwill"}]}"#;

    fn look(after: &str, until: &str) -> (Vec<String>, Option<Timestamp>) {
        let catalog: Draft = toml::from_str(CATALOG).unwrap();
        let acme: Tenant = serde_json::from_str(ACME).unwrap();
        let week = Duration::from_secs(7 * 86_400);
        let found = edges(&catalog, [("acme", acme)], week, (at(after), at(until)));
        let row = |edge: &Edge| {
            format!("{} {} {}", edge.at, edge.event.event_type().code(), edge.subject)
        };
        (found.due.iter().map(row).collect(), found.next)
    }

    #[test]
    fn every_edge_is_told_of_once_whatever_the_steps() {
        let (all, next) = look("2026-01-01T00:00:00Z", "2026-12-31T00:00:00Z");
        assert_eq!(
            all,
            [
                "2026-03-01T00:00:00Z promotion.started promotion/spring",
                "2026-03-08T00:00:00Z override.ends_soon tenant/acme/override/sso/0",
                "2026-03-10T00:00:00Z promotion.started promotion/short",
                "2026-03-12T00:00:00Z promotion.ended promotion/short",
                "2026-03-13T00:00:00Z trial.ends_soon tenant/acme/trial/pro/0",
                "2026-03-15T00:00:00Z override.ended tenant/acme/override/sso/0",
                "2026-03-20T00:00:00Z trial.ended tenant/acme/trial/pro/0",
                "2026-03-25T00:00:00Z promotion.ends_soon promotion/spring",
                "2026-04-01T00:00:00Z promotion.ended promotion/spring",
            ]
        );
        assert_eq!(next, None);
        let (mut stepped, mut through) = (Vec::new(), "2026-01-01T00:00:00Z".to_owned());
        while let (_, Some(next)) = look(&through, &through) {
            let until = next.to_string();
            let (some, _) = look(&through, &until);
            assert!(!some.is_empty(), "the next edge is one");
            stepped.extend(some);
            through = until;
        }
        assert_eq!(stepped, all);
    }
}
