//! What the outside world must be told: events with a type, a subject and data.
//!
//! A notice is part of the changeset that caused it. Which types there are, what their data looks
//! like and how grave they are is all in this file; `GET /v1/event-types` serves it.

use entitlements_core::{Revision, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How grave something is.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    #[default]
    Info,
    /// Somebody should look at it in the next days.
    Warning,
    /// Somebody should look at it today.
    Error,
    /// Somebody must look at it now.
    Critical,
}

impl Severity {
    /// Every severity, the least grave first.
    pub const ALL: [Self; 4] = [Self::Info, Self::Warning, Self::Error, Self::Critical];

    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// What an event does to the follow-up of its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// There is something to do.
    Opens,
    /// There is news.
    Updates,
    /// There is nothing more to do.
    Closes,
}

macro_rules! events {
    ($($variant:ident($data:ty) = $code:literal, $severity:ident, $phase:ident,
       $summary:literal, $title:literal, $text:literal, $sample:tt;)*) => {
        /// What happened.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Event {
            $(#[doc = $summary] $variant($data),)*
        }

        impl Event {
            /// Its type.
            #[must_use]
            pub const fn event_type(&self) -> EventType {
                match self { $(Self::$variant(_) => EventType::$variant,)* }
            }

            /// Its data, as JSON.
            ///
            /// # Errors
            /// Where it cannot be written as JSON.
            pub fn data(&self) -> Result<Value, serde_json::Error> {
                match self { $(Self::$variant(data) => serde_json::to_value(data),)* }
            }
        }

        /// A type of event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventType {
            $(#[doc = $summary] $variant,)*
        }

        impl EventType {
            /// Every type.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable word for it, such as `promotion.started`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// How grave it is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }

            /// What it does to the follow-up of its subject.
            #[must_use]
            pub const fn phase(self) -> Phase {
                match self { $(Self::$variant => Phase::$phase,)* }
            }

            /// When it happens, in a sentence without its full stop.
            #[must_use]
            pub const fn summary(self) -> &'static str {
                match self { $(Self::$variant => $summary,)* }
            }

            /// The template of its title, where no other is named.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// The template of its text, where no other is named.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The schema of its data.
            pub fn schema(self, generator: &mut SchemaGenerator) -> Schema {
                match self { $(Self::$variant => generator.subschema_for::<$data>(),)* }
            }

            /// Data as it might be.
            #[must_use]
            pub fn sample(self) -> Value {
                match self { $(Self::$variant => json!($sample),)* }
            }
        }
    };
}

events! {
    PromotionStarted(PromotionEdge) = "promotion.started", Info, Opens,
        "A promotion begins",
        "Promotion {{ data.name }} has started",
        "The promotion `{{ data.promotion }}` is in force since {{ data.from | date }}\
         {% if data.until is defined %}, until {{ data.until | date }}{% endif %}.",
        { "promotion": "spring", "name": "Spring", "from": "2026-03-01T00:00:00Z",
          "until": "2026-04-01T00:00:00Z" };
    PromotionEndsSoon(PromotionEdge) = "promotion.ends_soon", Info, Updates,
        "A promotion ends in some days",
        "Promotion {{ data.name }} ends on {{ data.until | date }}",
        "The promotion `{{ data.promotion }}` ends on {{ data.until | date }}.",
        { "promotion": "spring", "name": "Spring", "until": "2026-04-01T00:00:00Z" };
    PromotionEnded(PromotionEdge) = "promotion.ended", Info, Closes,
        "A promotion is over",
        "Promotion {{ data.name }} is over",
        "The promotion `{{ data.promotion }}` ended on {{ data.until | date }}.",
        { "promotion": "spring", "name": "Spring", "until": "2026-04-01T00:00:00Z" };
    OverrideEndsSoon(OverrideEdge) = "override.ends_soon", Warning, Opens,
        "An operator's word for one tenant and feature ends in some days",
        "The exception for {{ data.tenant_name }} on {{ data.feature }} ends on {{ data.until | date }}",
        "What was set for tenant `{{ data.tenant }}` on feature `{{ data.feature }}` ends on \
         {{ data.until | date }}. From then on its plan counts again.\
         {% if data.note is defined %}\n\nNote: {{ data.note }}{% endif %}",
        { "tenant": "acme", "tenant_name": "Acme Clinic", "feature": "sso",
          "until": "2026-04-01T00:00:00Z", "author": "ada", "note": "goodwill" };
    OverrideEnded(OverrideEdge) = "override.ended", Info, Closes,
        "An operator's word for one tenant and feature is over",
        "The exception for {{ data.tenant_name }} on {{ data.feature }} is over",
        "What was set for tenant `{{ data.tenant }}` on feature `{{ data.feature }}` ended on \
         {{ data.until | date }}.",
        { "tenant": "acme", "tenant_name": "Acme Clinic", "feature": "sso",
          "until": "2026-04-01T00:00:00Z" };
    TrialEndsSoon(TrialEdge) = "trial.ends_soon", Warning, Opens,
        "A tenant's trial ends in some days",
        "The trial of {{ data.tenant_name }} ends on {{ data.until | date }}",
        "Tenant `{{ data.tenant }}` tries the plan `{{ data.plan }}` until {{ data.until | date }}.",
        { "tenant": "acme", "tenant_name": "Acme Clinic", "plan": "pro",
          "until": "2026-04-01T00:00:00Z" };
    TrialEnded(TrialEdge) = "trial.ended", Info, Closes,
        "A tenant's trial is over",
        "The trial of {{ data.tenant_name }} is over",
        "Tenant `{{ data.tenant }}` tried the plan `{{ data.plan }}` until {{ data.until | date }}.",
        { "tenant": "acme", "tenant_name": "Acme Clinic", "plan": "pro",
          "until": "2026-04-01T00:00:00Z" };
    PublicationSubmitted(PublicationMove) = "publication.submitted", Info, Opens,
        "A draft of the catalog waits for approval",
        "{{ data.name }} waits for approval",
        "{{ data.by }} asks for approval of the draft `{{ data.draft }}`.",
        { "draft": "abcdefgh", "name": "Spring prices", "by": "user:ada@example.com" };
    PublicationReturned(PublicationMove) = "publication.returned", Info, Closes,
        "A draft that waited for approval was rejected, withdrawn or given up",
        "{{ data.name }} does not wait any more",
        "{{ data.by }} took the draft `{{ data.draft }}` back.\
         {% if data.reason is defined %}\n\nReason: {{ data.reason }}{% endif %}",
        { "draft": "abcdefgh", "name": "Spring prices", "by": "user:bob@example.com",
          "reason": "the end date is wrong" };
    PublicationPublished(PublicationMove) = "publication.published", Info, Closes,
        "The catalog was changed for everybody",
        "{{ data.name }} was published",
        "{{ data.by }} made {% if data.draft is defined %}the draft `{{ data.draft }}`{% else %}another \
         catalog{% endif %} the catalog in force.\
         {% if data.reason is defined %}\n\nReason: {{ data.reason }}{% endif %}",
        { "draft": "abcdefgh", "name": "Spring prices", "by": "user:ada@example.com" };
    PublicationRolledBack(PublicationMove) = "publication.rolled_back", Warning, Closes,
        "A published change of the catalog was taken back",
        "{{ data.name }} was rolled back",
        "{{ data.by }} took back what the draft `{{ data.draft }}` changed.",
        { "draft": "abcdefgh", "name": "Spring prices", "by": "user:ada@example.com" };
    SidecarStale(SidecarTrouble) = "sidecar.stale", Error, Opens,
        "A sidecar is not heard of any more, or cannot keep up",
        "Sidecar {{ data.sidecar }} is stale",
        "The sidecar `{{ data.sidecar }}` serves revision {{ data.revision }} and was last heard of at \
         {{ data.heard_at | date }}.",
        { "sidecar": "eu-1", "revision": 41, "state": "STALE", "heard_at": "2026-03-01T00:00:00Z" };
    SidecarRecovered(SidecarTrouble) = "sidecar.recovered", Info, Closes,
        "A sidecar is fresh again, or is not shown any more",
        "Sidecar {{ data.sidecar }} is fresh again",
        "The sidecar `{{ data.sidecar }}` serves revision {{ data.revision }}.",
        { "sidecar": "eu-1", "revision": 42, "state": "FRESH", "heard_at": "2026-03-01T00:00:00Z" };
    SidecarRejected(SidecarTrouble) = "sidecar.rejected", Error, Opens,
        "A sidecar refused what it was sent",
        "Sidecar {{ data.sidecar }} refused a revision",
        "The sidecar `{{ data.sidecar }}` goes on serving revision {{ data.revision }}.\
         {% if data.detail is defined %}\n\n{{ data.detail }}{% endif %}",
        { "sidecar": "eu-1", "revision": 41, "state": "FRESH", "heard_at": "2026-03-01T00:00:00Z",
          "cause": "signature", "detail": "the signature is not the publisher's" };
    SinkDrifted(SinkTrouble) = "sink.drifted", Warning, Opens,
        "A flag service or cache holds something else than was pushed",
        "Sink {{ data.sink }} has drifted",
        "The sink `{{ data.sink }}` of sidecar `{{ data.sidecar }}` holds something else than revision \
         {{ data.revision }}.{% if data.detail is defined %}\n\n{{ data.detail }}{% endif %}",
        { "sidecar": "eu-1", "sink": "unleash", "kind": "unleash", "revision": 41, "changed": 2,
          "detail": "2 flags were changed by hand" };
    SinkRepaired(SinkTrouble) = "sink.repaired", Info, Closes,
        "A flag service or cache that had drifted was put right",
        "Sink {{ data.sink }} was repaired",
        "The sink `{{ data.sink }}` of sidecar `{{ data.sidecar }}` holds revision {{ data.revision }} \
         again.{% if data.detail is defined %}\n\n{{ data.detail }}{% endif %}",
        { "sidecar": "eu-1", "sink": "unleash", "kind": "unleash", "revision": 41, "changed": 2 };
    ListingSubmitted(ListingMove) = "listing.submitted", Info, Opens,
        "A listing waits to be published",
        "{{ data.title }} waits to be published",
        "{{ data.by }} asks for the listing `{{ data.listing }}` to be published.",
        { "listing": "sms", "title": "Text messages", "by": "user:ada@example.com" };
    ListingReturned(ListingMove) = "listing.returned", Info, Closes,
        "A listing was sent back",
        "{{ data.title }} was sent back",
        "{{ data.by }} took the listing `{{ data.listing }}` back.",
        { "listing": "sms", "title": "Text messages", "by": "user:ada@example.com" };
    ListingPublished(ListingMove) = "listing.published", Info, Closes,
        "Tenants see a listing",
        "{{ data.title }} is on offer",
        "{{ data.by }} published the listing `{{ data.listing }}`.",
        { "listing": "sms", "title": "Text messages", "by": "user:ada@example.com" };
    ListingRetired(ListingMove) = "listing.retired", Info, Closes,
        "A listing is shown no more",
        "{{ data.title }} is on offer no more",
        "{{ data.by }} retired the listing `{{ data.listing }}`. Those who have it keep it.",
        { "listing": "sms", "title": "Text messages", "by": "user:ada@example.com" };
    RequestSubmitted(RequestMove) = "request.submitted", Info, Opens,
        "A tenant asks for something",
        "{{ data.title }} for {{ data.tenant_name }} was asked for",
        "{{ data.by }} asks for `{{ data.listing }}` for tenant `{{ data.tenant }}`.{% if data.text is defined %}\n\n{{ data.text }}{% endif %}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "stage": "submitted", "by": "user:ada@example.com" };
    RequestNeedsApproval(RequestMove) = "request.needs_approval", Info, Updates,
        "A request waits for approval",
        "{{ data.title }} for {{ data.tenant_name }} waits for approval",
        "The request `{{ data.request }}` waits for approval.{% if data.text is defined %}\n\n{{ data.text }}{% endif %}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "stage": "pending_approval", "by": "user:ada@example.com" };
    RequestNeedsInfo(RequestMove) = "request.needs_info", Info, Updates,
        "The requester was asked for something",
        "{{ data.title }} for {{ data.tenant_name }} needs an answer",
        "{{ data.by }} asks about the request `{{ data.request }}`.{% if data.text is defined %}\n\n{{ data.text }}{% endif %}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "stage": "needs_info", "by": "user:ada@example.com", "text": "for which site?" };
    RequestAnswered(RequestMove) = "request.answered", Info, Updates,
        "The requester answered",
        "{{ data.title }} for {{ data.tenant_name }} has an answer",
        "{{ data.by }} answered about the request `{{ data.request }}`.{% if data.text is defined %}\n\n{{ data.text }}{% endif %}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "stage": "pending_approval", "by": "user:ada@example.com", "text": "the one in Bonn" };
    RequestEscalated(RequestMove) = "request.escalated", Warning, Updates,
        "Nobody decided a request in time, so more people may",
        "{{ data.title }} for {{ data.tenant_name }} was escalated",
        "Nobody decided the request `{{ data.request }}` in time: more people may now.{% if data.text is defined %}\n\n{{ data.text }}{% endif %}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "stage": "pending_approval", "by": "user:ada@example.com" };
    RequestApproved(RequestMove) = "request.approved", Info, Updates,
        "A request was approved",
        "{{ data.title }} for {{ data.tenant_name }} was approved",
        "{{ data.by }} approved the request `{{ data.request }}`.{% if data.text is defined %}\n\n{{ data.text }}{% endif %}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "stage": "approved", "by": "user:ada@example.com" };
    RequestGlassBroken(RequestMove) = "request.glass_broken", Warning, Updates,
        "A request was approved without the votes that it needs",
        "{{ data.title }} for {{ data.tenant_name }} was approved by breaking the glass",
        "{{ data.by }} approved the request `{{ data.request }}` without the votes that it needs. Somebody else has to look at that.{% if data.text is defined %}\n\n{{ data.text }}{% endif %}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "stage": "approved", "by": "user:ada@example.com", "text": "the clinic opens at 8" };
    RequestReviewed(RequestMove) = "request.reviewed", Info, Updates,
        "Somebody looked at a request that was approved by breaking the glass",
        "{{ data.title }} for {{ data.tenant_name }} was reviewed",
        "{{ data.by }} looked at how the request `{{ data.request }}` was approved.{% if data.text is defined %}\n\n{{ data.text }}{% endif %}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "stage": "fulfilled", "by": "user:ada@example.com", "text": "fine" };
    RequestRejected(RequestMove) = "request.rejected", Info, Closes,
        "A request was rejected",
        "{{ data.title }} for {{ data.tenant_name }} was rejected",
        "{{ data.by }} rejected the request `{{ data.request }}`.{% if data.text is defined %}\n\n{{ data.text }}{% endif %}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "stage": "rejected", "by": "user:ada@example.com", "text": "no budget" };
    RequestWithdrawn(RequestMove) = "request.withdrawn", Info, Closes,
        "A request was taken back",
        "{{ data.title }} for {{ data.tenant_name }} was taken back",
        "{{ data.by }} took the request `{{ data.request }}` back.{% if data.text is defined %}\n\n{{ data.text }}{% endif %}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "stage": "withdrawn", "by": "user:ada@example.com" };
    RequestExpired(RequestMove) = "request.expired", Warning, Closes,
        "Nobody decided a request in time",
        "{{ data.title }} for {{ data.tenant_name }} expired",
        "Nobody decided the request `{{ data.request }}` in time.{% if data.text is defined %}\n\n{{ data.text }}{% endif %}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "stage": "expired", "by": "user:ada@example.com" };
    RequestDuplicate(RequestMove) = "request.duplicate", Info, Closes,
        "A request asks for what another one asks for",
        "{{ data.title }} for {{ data.tenant_name }} is a duplicate",
        "{{ data.by }} says that the request `{{ data.request }}` is there twice.{% if data.text is defined %}\n\n{{ data.text }}{% endif %}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "stage": "duplicate", "by": "user:ada@example.com", "text": "of bcdefghi" };
    RequestScheduled(RequestMove) = "request.scheduled", Info, Updates,
        "An approved request begins later",
        "{{ data.title }} for {{ data.tenant_name }} begins later",
        "The request `{{ data.request }}` is approved and begins later.{% if data.text is defined %}\n\n{{ data.text }}{% endif %}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "stage": "scheduled", "by": "user:ada@example.com" };
    RequestProvisioning(RequestMove) = "request.provisioning", Info, Updates,
        "The steps of a request have begun",
        "{{ data.title }} for {{ data.tenant_name }} is being set up",
        "The steps of the request `{{ data.request }}` have begun.{% if data.text is defined %}\n\n{{ data.text }}{% endif %}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "stage": "provisioning", "by": "user:ada@example.com" };
    RequestFulfilled(RequestMove) = "request.fulfilled", Info, Closes,
        "A request is in force",
        "{{ data.title }} for {{ data.tenant_name }} is in force",
        "The request `{{ data.request }}` is in force.{% if data.text is defined %}\n\n{{ data.text }}{% endif %}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "stage": "fulfilled", "by": "user:ada@example.com" };
    RequestUndoing(RequestMove) = "request.undoing", Warning, Updates,
        "What was done for a request is being undone",
        "{{ data.title }} for {{ data.tenant_name }} is being undone",
        "What was done for the request `{{ data.request }}` is being undone.{% if data.text is defined %}\n\n{{ data.text }}{% endif %}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "stage": "compensating", "by": "user:ada@example.com", "text": "the broker says no" };
    RequestFailed(RequestMove) = "request.failed", Error, Closes,
        "A request could not be put in force, and was undone",
        "{{ data.title }} for {{ data.tenant_name }} failed",
        "The request `{{ data.request }}` could not be put in force. What had been done is undone.{% if data.text is defined %}\n\n{{ data.text }}{% endif %}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "stage": "failed", "by": "user:ada@example.com", "text": "the broker says no" };
    RequestCancelled(RequestMove) = "request.cancelled", Info, Closes,
        "A request was called off",
        "{{ data.title }} for {{ data.tenant_name }} was called off",
        "{{ data.by }} called the request `{{ data.request }}` off.{% if data.text is defined %}\n\n{{ data.text }}{% endif %}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "stage": "cancelled", "by": "user:ada@example.com", "text": "not needed" };
    RequestStuck(RequestMove) = "request.compensation_failed", Critical, Updates,
        "Something could not be undone: an operator has to look at it",
        "{{ data.title }} for {{ data.tenant_name }} could not be undone",
        "What was done for the request `{{ data.request }}` could not be undone. Somebody has to look at it.{% if data.text is defined %}\n\n{{ data.text }}{% endif %}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "stage": "compensation_failed", "by": "user:ada@example.com", "text": "the broker does not answer" };
    RequestStepWaits(StepWaits) = "request.step_waits", Info, Updates,
        "A step of a request waits for somebody",
        "{{ data.title }} for {{ data.tenant_name }}: {{ data.name }}",
        "The step `{{ data.step }}` of the request `{{ data.request }}` waits for {{ data.assignee }}.\n\n{{ data.instructions }}",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "step": "desks", "name": "Set up desks", "assignee": "team `onsite`",
          "instructions": "Put ten desks there" };
    RequestSlaWarning(SlaMove) = "request.sla_warning", Warning, Updates,
        "A part of the time that a request may take has gone by",
        "{{ data.title }} for {{ data.tenant_name }}: {{ data.percent }} % of the time has gone by",
        "{{ data.percent }} % of the time for `{{ data.metric }}` of the request `{{ data.request }}` has gone by. It is due at {{ data.due_at | date }}.",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "metric": "approval", "due_at": "2026-03-02T16:00:00Z",
          "percent": 75, "late": false };
    RequestSlaBreached(SlaMove) = "request.sla_breached", Error, Updates,
        "A request took longer than was promised",
        "{{ data.title }} for {{ data.tenant_name }} is late",
        "The request `{{ data.request }}` took longer than was promised for `{{ data.metric }}`. It was due at {{ data.due_at | date }}.",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "metric": "approval", "due_at": "2026-03-02T16:00:00Z",
          "percent": 100, "late": false };
    RequestSlaEscalated(SlaMove) = "request.sla_escalated", Critical, Updates,
        "A request that is late is still not done",
        "{{ data.title }} for {{ data.tenant_name }} is very late",
        "{{ data.percent }} % of the time for `{{ data.metric }}` of the request `{{ data.request }}` has gone by. It was due at {{ data.due_at | date }}.",
        { "request": "abcdefgh", "tenant": "acme", "tenant_name": "Acme Clinic", "listing": "sms",
          "title": "Text messages", "metric": "approval", "due_at": "2026-03-02T16:00:00Z",
          "percent": 150, "late": false };
    ConnectorDisabled(ConnectorTrouble) = "connector.disabled", Error, Opens,
        "A connector was switched off because its receiver wants nothing more",
        "Connector {{ data.connector }} was switched off",
        "{{ data.why }}",
        { "connector": "partner-hook", "why": "the receiver answered 410 Gone" };
    ConnectorTest(Test) = "connector.test", Info, Opens,
        "Somebody sent a test",
        "A test from Entitlements",
        "{{ data.by }} sent this to see whether it arrives.",
        { "by": "user:ada@example.com" };
}

impl EventType {
    /// The type of this code.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.code() == code)
    }

    /// The schema of its data, as a document of its own.
    #[must_use]
    pub fn schema_document(self) -> Value {
        let mut generator = SchemaGenerator::default();
        let schema = self.schema(&mut generator);
        let mut document = schema.to_value();
        if let Some(object) = document.as_object_mut() {
            object.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
            object.insert("title".into(), self.code().into());
            object.insert("description".into(), self.summary().into());
            object.insert("$defs".into(), Value::Object(generator.take_definitions(true)));
        }
        document
    }
}

/// A promotion begins or ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PromotionEdge {
    /// Its key.
    pub promotion: String,
    /// What people call it.
    pub name: String,
    /// When it begins; absent where it has no beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// When it ends; absent where it has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// An operator's word for one tenant and feature ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OverrideEdge {
    /// Whose.
    pub tenant: String,
    /// What people call the tenant.
    pub tenant_name: String,
    /// Which feature.
    pub feature: String,
    /// When it ends.
    pub until: Timestamp,
    /// Who said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A trial ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TrialEdge {
    /// Whose.
    pub tenant: String,
    /// What people call the tenant.
    pub tenant_name: String,
    /// Which plan it tries.
    pub plan: String,
    /// When it ends.
    pub until: Timestamp,
}

/// A change of the catalog comes further, or back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PublicationMove {
    /// Which draft; absent where the catalog was replaced without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draft: Option<String>,
    /// What people call it.
    pub name: String,
    /// Who did it.
    pub by: String,
    /// Why, where that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A listing takes a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ListingMove {
    /// Which.
    pub listing: String,
    /// What it is called.
    pub title: String,
    /// Who did it.
    pub by: String,
}

/// A request takes a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RequestMove {
    /// Which.
    pub request: String,
    /// Whose.
    pub tenant: String,
    /// What people call the tenant.
    pub tenant_name: String,
    /// For which listing.
    pub listing: String,
    /// What that is called.
    pub title: String,
    /// How far it has come.
    pub stage: String,
    /// Who did it.
    pub by: String,
    /// What was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A step of a request waits for somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StepWaits {
    /// Which request.
    pub request: String,
    /// Whose.
    pub tenant: String,
    /// What people call the tenant.
    pub tenant_name: String,
    /// For which listing.
    pub listing: String,
    /// What that is called.
    pub title: String,
    /// Which step.
    pub step: String,
    /// What people call it.
    pub name: String,
    /// Who is to do it.
    pub assignee: String,
    /// What to do.
    pub instructions: String,
}

/// A part of the time that was promised has gone by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SlaMove {
    /// Which request.
    pub request: String,
    /// Whose.
    pub tenant: String,
    /// What people call the tenant.
    pub tenant_name: String,
    /// For which listing.
    pub listing: String,
    /// What that is called.
    pub title: String,
    /// What was promised: `first_response`, `approval` or `fulfilment`.
    pub metric: String,
    /// How much of the time, in percent.
    pub percent: u16,
    /// When the time is over, or was.
    pub due_at: Timestamp,
    /// Whether this is told later than it was so, as nothing ran in between.
    pub late: bool,
}

/// How a sidecar is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SidecarTrouble {
    /// Its name.
    pub sidecar: String,
    /// What it serves.
    pub revision: Revision,
    /// How it called itself last: `FRESH`, `STALE`, `EXPIRED` or `COLD`.
    pub state: String,
    /// When it was last heard of.
    pub heard_at: Timestamp,
    /// A stable word for why it refused something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The same in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// How a sink is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SinkTrouble {
    /// Which sidecar pushes to it.
    pub sidecar: String,
    /// What the operator calls it.
    pub sink: String,
    /// What it is, such as `redis`.
    pub kind: String,
    /// The revision that it should hold.
    pub revision: Revision,
    /// How many things in it were another.
    pub changed: u64,
    /// What there is to say about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Why a connector was switched off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ConnectorTrouble {
    /// Which.
    pub connector: String,
    /// Why, in a sentence.
    pub why: String,
}

/// A test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Test {
    /// Who sent it.
    pub by: String,
}

/// An event, to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// It is the same for everybody who is told, and however often.
    pub id: String,
    /// What kind of event.
    pub event_type: EventType,
    /// Of which tenant, where it is about one.
    pub tenant: Option<String>,
    /// What it is about, such as `draft/abcdefgh`. All events about one thing have the same.
    pub subject: String,
    /// When it happened.
    pub at: Timestamp,
    /// Its data, as the event type says.
    pub data: Value,
}

impl Notice {
    /// A notice of an event.
    ///
    /// # Errors
    /// Where its data cannot be written as JSON.
    pub fn new(
        id: String,
        subject: impl Into<String>,
        at: Timestamp,
        event: &Event,
    ) -> Result<Self, serde_json::Error> {
        let (event_type, data) = (event.event_type(), event.data()?);
        Ok(Self { id, event_type, tenant: None, subject: subject.into(), at, data })
    }

    /// The same, about a tenant.
    #[must_use]
    pub fn of_tenant(self, tenant: impl Into<String>) -> Self {
        Self { tenant: Some(tenant.into()), ..self }
    }
}

/// A notice as it is kept: with its place among all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptNotice {
    /// The notice.
    pub notice: Notice,
    /// The commit that it came with.
    pub revision: Revision,
    /// Its place in that commit, from 0.
    pub place: u32,
}

impl KeptNotice {
    /// A text that sorts as the notices do.
    #[must_use]
    pub fn sequence(&self) -> String {
        format!("{:020}.{:06}", self.revision.0, self.place)
    }

    /// It as a `CloudEvents` 1.0 envelope, in structured mode. `schemas` is where the schemas of
    /// data are served, such as `https://entitlements.example.com/schema`.
    #[must_use]
    pub fn envelope(&self, environment: &str, schemas: Option<&str>) -> Value {
        let Notice { id, event_type, tenant, subject, at, data } = &self.notice;
        let mut envelope = json!({
            "specversion": "1.0",
            "id": id,
            "source": format!("/entitlements/{environment}"),
            "type": type_name(*event_type),
            "subject": subject,
            "time": at.to_string(),
            "datacontenttype": "application/json",
            "sequence": self.sequence(),
            "severity": event_type.severity().code(),
            "data": data,
        });
        if let Some(object) = envelope.as_object_mut() {
            if let Some(tenant) = tenant {
                object.insert("tenant".into(), tenant.as_str().into());
            }
            if let Some(schemas) = schemas {
                let uri = format!("{schemas}/{}.json", event_type.code());
                object.insert("dataschema".into(), uri.into());
            }
        }
        envelope
    }
}

/// What a type is called in an envelope.
#[must_use]
pub fn type_name(event_type: EventType) -> String {
    format!("entitlements.{}", event_type.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_data_of_its_schema() {
        for event_type in EventType::ALL {
            let schema = event_type.schema_document();
            let validator = jsonschema::validator_for(&schema).unwrap();
            let sample = event_type.sample();
            let wrong: Vec<String> =
                validator.iter_errors(&sample).map(|error| error.to_string()).collect();
            assert!(wrong.is_empty(), "{}: {wrong:?}", event_type.code());
            assert!(!validator.is_valid(&json!({ "by": 1 })), "{}", event_type.code());
            assert_eq!(EventType::of_code(event_type.code()), Some(*event_type));
            let letters = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
            assert!(type_name(*event_type).chars().all(letters));
        }
    }

    #[test]
    fn an_envelope_has_what_cloud_events_ask_for() {
        let event = Event::ConnectorTest(Test { by: "user:ada".into() });
        let at = Timestamp::from_micros(1_000_000);
        let notice = Notice::new("evt_1".into(), "connector/x", at, &event).unwrap();
        let kept = KeptNotice { notice: notice.of_tenant("acme"), revision: Revision(7), place: 2 };
        assert_eq!(
            kept.envelope("eu", Some("https://x.example/schema")),
            json!({
                "specversion": "1.0",
                "id": "evt_1",
                "source": "/entitlements/eu",
                "type": "entitlements.connector.test",
                "subject": "connector/x",
                "time": "1970-01-01T00:00:01Z",
                "datacontenttype": "application/json",
                "dataschema": "https://x.example/schema/connector.test.json",
                "sequence": "00000000000000000007.000002",
                "severity": "info",
                "tenant": "acme",
                "data": { "by": "user:ada" },
            })
        );
    }
}
