//! What a caller is told: core's decision, or what the feature says for when nothing is certain.

use std::io::Write;

use entitlements_core::{
    Catalog, Decision, FeatureKind, Limit, Reason, Revision, Source, Timestamp, Verdict, WhenStale,
};

use crate::{json::Json, standing::State};

/// One answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'s> {
    pub(crate) verdict: Verdict<'s>,
    pub(crate) reason: Word,
    pub(crate) source: Option<Source<'s>>,
    pub(crate) revision: Revision,
    pub(crate) valid_until: Option<Timestamp>,
}

/// Why: one of core's reasons, or that the snapshot is too old to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Known(Reason),
    Stale,
}

impl Word {
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Known(reason) => reason.code(),
            Self::Stale => "stale",
        }
    }
}

impl<'s> Answer<'s> {
    /// The answer in this state of the snapshot.
    pub(crate) fn new(
        decision: &Decision<'s>,
        catalog: &Catalog,
        feature: &str,
        state: State,
    ) -> Self {
        let known = Self::known(decision);
        if state != State::Expired {
            return known;
        }
        let Some(declared) = catalog.draft().features.get(feature) else { return known };
        known.expired(declared.when_stale, &declared.kind)
    }

    fn known(decision: &Decision<'s>) -> Self {
        Self {
            verdict: decision.verdict(),
            reason: Word::Known(decision.reason()),
            source: decision.source(),
            revision: decision.revision(),
            valid_until: decision.valid_until(),
        }
    }

    /// What the feature asks for when the snapshot is older than it may be.
    ///
    /// A tenant that is not known stays unknown, and a door that somebody shut on purpose stays
    /// shut: neither becomes an accidental yes.
    fn expired(self, policy: WhenStale, kind: &FeatureKind) -> Self {
        let verdict = match (policy, kind, self.reason) {
            (_, _, Word::Known(Reason::UnknownTenant | Reason::UnknownFeature))
            | (WhenStale::LastKnown, ..) => return self,
            (WhenStale::Deny, ..) => Verdict::Denied,
            (WhenStale::Allow, _, Word::Known(Reason::Blocked | Reason::DeniedByOverride)) => {
                return self;
            }
            (WhenStale::Allow, FeatureKind::Switch, _) => Verdict::Allowed,
            (WhenStale::Allow, ..) => return self,
        };
        Self { verdict, reason: Word::Stale, source: None, valid_until: None, ..self }
    }

    /// Whether something that is on offer might give another answer: the tenant and the feature are
    /// known, and it is a no.
    pub(crate) fn may_be_lifted(&self) -> bool {
        matches!(self.verdict, Verdict::Denied)
            && !matches!(
                self.reason,
                Word::Stale | Word::Known(Reason::UnknownTenant | Reason::UnknownFeature)
            )
    }

    /// Writes the members of the JSON object that core's `DecisionText` describes, without its
    /// braces, from `allowed` on.
    pub(crate) fn write_members(&self, json: &mut Json, with_revision: bool) {
        json.raw(match self.verdict {
            Verdict::Denied => "\"allowed\":false,\"verdict\":\"denied\"",
            Verdict::Allowed => "\"allowed\":true,\"verdict\":\"allowed\"",
            Verdict::Limit(_) => "\"allowed\":true,\"verdict\":\"limit\",\"amount\":",
            Verdict::Level(_) => "\"allowed\":true,\"verdict\":\"level\",\"level\":\"",
            Verdict::Config(_) => "\"allowed\":true,\"verdict\":\"config\",\"config\":",
        });
        match self.verdict {
            Verdict::Denied | Verdict::Allowed => &mut *json,
            Verdict::Limit(Limit::AtMost(amount)) => json.number(amount),
            Verdict::Limit(Limit::Unlimited) => json.raw("\"unlimited\""),
            Verdict::Level(name) => json.raw(name).raw("\""),
            Verdict::Config(text) => json.raw(text),
        };
        json.raw(",\"reason\":\"").raw(self.reason.code()).raw("\"");
        if let Some(source) = self.source {
            json.raw(",\"source\":").source(source);
        }
        if with_revision {
            json.raw(",\"revision\":").number(self.revision.0);
        }
        if let Some(until) = self.valid_until {
            json.raw(",\"valid_until\":").instant(until);
        }
    }
}

/// Writes text that needs no escape: numbers, catalog keys, instants.
pub(crate) fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // A `Vec` takes every byte.
    let _ = out.write_fmt(text);
}

/// Writes text from outside as a JSON string.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use entitlements_core::{
        Snapshot,
        document::{DecisionText, Document},
    };

    const AT: i64 = 1_780_000_000_000_000;

    fn snapshot() -> Snapshot {
        let document = Document::parse(
            "test.toml",
            r#"
            [features.sso]
            kind = "switch"
            when_stale = "allow"
            [features.vault]
            kind = "switch"
            when_stale = "deny"
            [features.seats]
            kind = { limit = { unit = "seat" } }
            when_stale = "allow"
            [features.sms]
            kind = { limit = { unit = "message" } }
            [features.support]
            kind = { level = { levels = ["basic", "gold"] } }
            [features.theme]
            kind = { config = { schema = { type = "object" } } }
            [features.off]
            kind = "switch"
            when_stale = "allow"
            [plans.pro]
            grants = { vault = true, seats = 5, sms = "unlimited", support = "gold", theme = { color = "blue" } }
            [tenants.acme]
            subscriptions = [{ plan = "pro", window = { until = 2030-01-01T00:00:00Z } }]
            [tenants.shut]
            blocks = [{ owner = "security" }]
            "#,
        )
        .unwrap();
        let catalog = Catalog::new(document.catalog).unwrap();
        Snapshot::compile(
            Revision(42),
            catalog.into(),
            &document.tenants,
            Timestamp::from_micros(AT),
        )
    }

    fn answer<'s>(snapshot: &'s Snapshot, tenant: &str, feature: &str, state: State) -> Answer<'s> {
        let decision = snapshot.check(tenant, feature, Timestamp::from_micros(AT));
        Answer::new(&decision, snapshot.catalog(), feature, state)
    }

    #[test]
    fn it_is_written_as_core_writes_it() {
        let snapshot = snapshot();
        for tenant in ["acme", "shut", "nobody"] {
            for feature in ["sso", "vault", "seats", "sms", "support", "theme", "nothing"] {
                let decision = snapshot.check(tenant, feature, Timestamp::from_micros(AT));
                let ours = answer(&snapshot, tenant, feature, State::Fresh);
                let mut json = Json::with_capacity(0);
                json.raw("{\"tenant\":").string(tenant).raw(",\"feature\":").string(feature);
                ours.write_members(json.raw(","), true);
                json.raw("}");
                let theirs = serde_json::to_value(DecisionText::from((tenant, feature, &decision)));
                let ours: serde_json::Value = serde_json::from_slice(json.as_bytes()).unwrap();
                assert_eq!(ours, theirs.unwrap());
            }
        }
    }

    #[test]
    fn an_expired_snapshot_follows_each_feature() {
        let snapshot = snapshot();
        let rows = [
            ("acme", "vault", "denied", "stale"),
            ("acme", "sso", "allowed", "stale"),
            ("acme", "seats", "5", "plan"),
            ("acme", "support", "gold", "plan"),
            ("shut", "sso", "denied", "blocked"),
            ("nobody", "sso", "denied", "unknown_tenant"),
            ("nobody", "vault", "denied", "unknown_tenant"),
            ("acme", "nothing", "denied", "unknown_feature"),
        ];
        for (tenant, feature, verdict, reason) in rows {
            let expired = answer(&snapshot, tenant, feature, State::Expired);
            let said = (expired.verdict.to_string(), expired.reason.code());
            assert_eq!(said, (verdict.to_owned(), reason), "{tenant} {feature}");
        }
        let stale = answer(&snapshot, "acme", "vault", State::Stale);
        assert!(stale.verdict.is_allowed(), "stale alone changes nothing");
    }
}
