//! What a tenant has by the marketplace, and how that changes what it may use.
//!
//! These functions are all that ever writes into a tenant on behalf of a request. A tenant's own
//! document stays the one place that decides its answers.

use entitlements_core::{Subscription, Tenant, TenantAddOn, TenantEnrolment, Timestamp, Window};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{listing::Offer, provisioning::Step};

/// How far what a tenant has has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldingStage {
    /// It is in force, or will be at its start.
    Active,
    /// It is over, or taken back.
    Ended,
}

/// What a tenant has by a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Holding {
    /// Whose.
    pub tenant: String,
    /// By which listing.
    pub listing: String,
    /// By which request.
    pub request: String,
    /// Of which partner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// What.
    pub offer: Offer,
    /// How many.
    pub quantity: u32,
    /// What was asked of the requester.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub parameters: Value,
    /// When.
    pub window: Window,
    /// How far it has come.
    pub stage: HoldingStage,
    /// When it was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// What was done to put it in force: it is undone once it ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// The subscriptions before a change of plan, so that it can be taken back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Subscription>,
}

/// Why something cannot be granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The tenant has it.
    #[error("tenant `{tenant}` has {what} already: ask for a change of that")]
    HasIt {
        /// Whose.
        tenant: String,
        /// What.
        what: String,
    },
    /// There is nothing to change.
    #[error("tenant `{tenant}` does not have {what} any more")]
    HasItNot {
        /// Whose.
        tenant: String,
        /// What.
        what: String,
    },
}

impl Offer {
    /// What it is, in a sentence.
    #[must_use]
    pub fn for_people(&self) -> String {
        match self {
            Self::AddOn(key) => format!("add-on `{key}`"),
            Self::AddOns(keys) => {
                let all: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
                format!("add-ons {}", all.join(", "))
            }
            Self::Promotion(key) => format!("promotion `{key}`"),
            Self::Plan(key) => format!("plan `{key}`"),
        }
    }

    fn has_add_on(&self, held: &TenantAddOn) -> bool {
        match self {
            Self::AddOn(key) => held.add_on == *key,
            Self::AddOns(keys) => keys.contains(&held.add_on),
            Self::Promotion(_) | Self::Plan(_) => false,
        }
    }

    /// Whether a tenant has some of it in a window.
    #[must_use]
    pub fn is_held(&self, tenant: &Tenant, window: &Window) -> bool {
        match self {
            Self::AddOn(_) | Self::AddOns(_) => tenant
                .add_ons
                .iter()
                .any(|held| self.has_add_on(held) && held.window.overlaps(window)),
            Self::Promotion(key) => tenant
                .enrolments
                .iter()
                .any(|held| held.promotion == *key && held.window.overlaps(window)),
            Self::Plan(key) => {
                let covers = |held: &Subscription| {
                    held.plan == *key && held.window.contains(window.start()) && !held.trial
                };
                tenant.subscriptions.iter().any(covers)
            }
        }
    }

    /// A tenant that has it in a window.
    ///
    /// # Errors
    /// Where it has it already.
    pub fn granted(
        &self,
        key: &str,
        tenant: &Tenant,
        quantity: u32,
        window: &Window,
    ) -> Result<Tenant, GrantError> {
        if self.is_held(tenant, window) {
            return Err(GrantError::HasIt { tenant: key.into(), what: self.for_people() });
        }
        let mut tenant = tenant.clone();
        let held = |add_on: &entitlements_core::AddOnKey| TenantAddOn {
            add_on: add_on.clone(),
            quantity,
            window: window.clone(),
        };
        match self {
            Self::AddOn(add_on) => tenant.add_ons.push(held(add_on)),
            Self::AddOns(add_ons) => tenant.add_ons.extend(add_ons.iter().map(held)),
            Self::Promotion(promotion) => tenant
                .enrolments
                .push(TenantEnrolment { promotion: promotion.clone(), window: window.clone() }),
            Self::Plan(plan) => {
                let start = window.start();
                cut(&mut tenant.subscriptions, start);
                let (plan, window) = (plan.clone(), window.clone());
                tenant.subscriptions.push(Subscription { plan, window, trial: false });
            }
        }
        Ok(tenant)
    }
}

/// Subscriptions end at an instant, and those that would begin later are no more.
fn cut(subscriptions: &mut Vec<Subscription>, at: Timestamp) {
    subscriptions.retain(|held| held.window.start() < at);
    for held in subscriptions.iter_mut().filter(|held| held.window.end() > at) {
        held.window.until = Some(at);
    }
}

impl Holding {
    /// A tenant that does not have it any more from an instant on.
    #[must_use]
    pub fn revoked(&self, tenant: &Tenant, at: Timestamp) -> Tenant {
        let mut tenant = tenant.clone();
        let same = |window: &Window| window.from == self.window.from;
        let ended = |window: &Window| {
            let until = window.until.map_or(at, |until| until.min(at));
            Window { until: Some(until), ..window.clone() }
        };
        match &self.offer {
            Offer::AddOn(_) | Offer::AddOns(_) => {
                for held in &mut tenant.add_ons {
                    if self.offer.has_add_on(held) && same(&held.window) {
                        held.window = ended(&held.window);
                    }
                }
                tenant.add_ons.retain(|held| !held.window.is_empty());
            }
            Offer::Promotion(key) => {
                for held in &mut tenant.enrolments {
                    if held.promotion == *key && same(&held.window) {
                        held.window = ended(&held.window);
                    }
                }
                tenant.enrolments.retain(|held| !held.window.is_empty());
            }
            Offer::Plan(key) => {
                for held in &mut tenant.subscriptions {
                    if held.plan == *key && same(&held.window) {
                        held.window = ended(&held.window);
                    }
                }
                tenant.subscriptions.retain(|held| !held.window.is_empty());
                // What it had before goes on from here, as if it had not been changed.
                let back = self.before.iter().filter(|held| held.window.end() > at).map(|held| {
                    let from = Some(held.window.start().max(at));
                    Subscription { window: Window { from, ..held.window.clone() }, ..held.clone() }
                });
                tenant.subscriptions.extend(back);
            }
        }
        tenant
    }

    /// A tenant that has another number of it, or for longer or shorter.
    ///
    /// # Errors
    /// Where it does not have it any more.
    pub fn changed(
        &self,
        tenant: &Tenant,
        quantity: u32,
        until: Option<Timestamp>,
    ) -> Result<Tenant, GrantError> {
        let mut tenant = tenant.clone();
        let mut found = false;
        let same = |window: &Window| window.from == self.window.from;
        match &self.offer {
            Offer::AddOn(_) | Offer::AddOns(_) => {
                for held in &mut tenant.add_ons {
                    if self.offer.has_add_on(held) && same(&held.window) {
                        (held.quantity, held.window.until, found) = (quantity, until, true);
                    }
                }
            }
            Offer::Promotion(key) => {
                for held in &mut tenant.enrolments {
                    if held.promotion == *key && same(&held.window) {
                        (held.window.until, found) = (until, true);
                    }
                }
            }
            Offer::Plan(key) => {
                for held in &mut tenant.subscriptions {
                    if held.plan == *key && same(&held.window) {
                        (held.window.until, found) = (until, true);
                    }
                }
            }
        }
        let what = self.offer.for_people();
        if found {
            Ok(tenant)
        } else {
            Err(GrantError::HasItNot { tenant: self.tenant.clone(), what })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn window(from: i64, until: Option<i64>) -> Window {
        Window::new(Some(at(from)), until.map(at))
    }

    fn offer(json: &str) -> Offer {
        serde_json::from_str(json).unwrap()
    }

    fn tenant() -> Tenant {
        serde_json::from_str(r#"{"subscriptions":[{"plan":"basic"}]}"#).unwrap()
    }

    fn holding(offer: &Offer, before: &Tenant) -> Holding {
        Holding {
            tenant: "acme".into(),
            listing: "x".into(),
            request: "r".into(),
            partner: None,
            offer: offer.clone(),
            quantity: 2,
            parameters: Value::Null,
            window: window(100, None),
            stage: HoldingStage::Active,
            ended_at: None,
            steps: Vec::new(),
            before: before.subscriptions.clone(),
        }
    }

    const OFFERS: [&str; 4] = [
        r#"{"add_on":"sms"}"#,
        r#"{"add_ons":["sms","fax"]}"#,
        r#"{"promotion":"spring"}"#,
        r#"{"plan":"pro"}"#,
    ];

    #[test]
    fn what_is_granted_is_taken_back_at_an_instant() {
        for json in OFFERS {
            let (offer, before) = (offer(json), tenant());
            let window = window(100, None);
            let granted = offer.granted("acme", &before, 2, &window).unwrap();
            assert!(offer.is_held(&granted, &window), "{json}");
            let again = offer.granted("acme", &granted, 2, &window).unwrap_err().to_string();
            assert!(again.starts_with("tenant `acme` has "), "{again}");
            let held = holding(&offer, &before);
            // Before it has begun nothing of it is left.
            assert_eq!(held.revoked(&granted, at(100)).add_ons, before.add_ons, "{json}");
            let revoked = held.revoked(&granted, at(150));
            let later = Window::new(Some(at(150)), None);
            assert!(!offer.is_held(&revoked, &later) && offer.is_held(&revoked, &window), "{json}");
        }
    }

    #[test]
    fn a_change_of_plan_goes_back_to_what_was_there() {
        let (offer, before) = (offer(OFFERS[3]), tenant());
        let granted = offer.granted("acme", &before, 1, &window(100, None)).unwrap();
        let plans = |tenant: &Tenant, second: i64| -> BTreeSet<String> {
            let now = tenant.subscriptions.iter().filter(|held| held.window.contains(at(second)));
            now.map(|held| held.plan.to_string()).collect()
        };
        assert_eq!(plans(&granted, 99), ["basic".to_owned()].into());
        assert_eq!(plans(&granted, 100), ["pro".to_owned()].into());
        let back = holding(&offer, &before).revoked(&granted, at(150));
        for (second, plan) in [(99, "basic"), (149, "pro"), (150, "basic")] {
            assert_eq!(plans(&back, second), [plan.to_owned()].into(), "{second}");
        }
    }

    #[test]
    fn a_change_is_one_of_what_there_is() {
        let (offer, before) = (offer(OFFERS[0]), tenant());
        let granted = offer.granted("acme", &before, 2, &window(100, None)).unwrap();
        let held = holding(&offer, &before);
        let more = held.changed(&granted, 5, Some(at(900))).unwrap();
        assert_eq!((more.add_ons[0].quantity, more.add_ons[0].window.until), (5, Some(at(900))));
        let gone = held.changed(&before, 5, None).unwrap_err().to_string();
        assert_eq!(gone, "tenant `acme` does not have add-on `sms` any more");
    }
}
