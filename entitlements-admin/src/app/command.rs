//! Everything that can be asked to change.

use std::collections::{BTreeMap, BTreeSet};

use entitlements_core::{
    Draft, Problem, Revision, Tenant, TenantKey, Timestamp,
    document::{Receipt, SinkStatus},
};

use super::{
    connectors::{ConnectorInput, ConnectorNews},
    drafts::{DraftEdit, StartsWith, act_needs},
    listings::Shelf,
    requests::{NewRequest, StepAnswer, StepHeard, StepTold},
    routing::Routing,
    users::{NewUser, Proof, UserChange},
};
use crate::workflow::{
    Kind, Permission, Redrive, Scope,
    approval::DelegationSetting,
    listing::{Listing, ListingAct},
    provisioning::Doing,
    publication::Act,
    request,
    settings::{ApprovalSetting, OutboxSetting, RetentionSetting},
};

/// Something to change.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// Make this the catalog in force.
    ImportCatalog {
        /// The catalog.
        draft: Box<Draft>,
        /// What it must replace.
        expected: Expected,
        /// Whether to do without the approval that is asked for. It takes a reason.
        breaks_glass: bool,
    },
    /// Make this the catalog in force and make or replace these tenants, in one commit.
    ImportAll {
        /// The catalog.
        draft: Box<Draft>,
        /// The tenants. Others stay as they are.
        tenants: BTreeMap<TenantKey, Tenant>,
    },
    /// Make or replace a tenant.
    PutTenant {
        /// Which one.
        key: TenantKey,
        /// All that is to be known of it.
        tenant: Box<Tenant>,
        /// What it must replace.
        expected: Expected,
    },
    /// Remove a tenant.
    DeleteTenant {
        /// Which one.
        key: TenantKey,
        /// What must be removed.
        expected: Expected,
    },
    /// Make or replace many tenants, all of them or none.
    BulkTenants {
        /// The tenants. Others stay as they are.
        tenants: BTreeMap<TenantKey, Tenant>,
    },
    /// Make a draft of the catalog.
    CreateDraft {
        /// What people call it.
        name: String,
        /// What it is for.
        description: String,
        /// What it changes.
        starts_with: StartsWith,
    },
    /// Change a draft.
    EditDraft {
        /// Which.
        id: String,
        /// How.
        edit: DraftEdit,
        /// What it must be.
        expected: Expected,
    },
    /// Bring a draft further on its way to be the catalog, or back.
    ActOnDraft {
        /// Which.
        id: String,
        /// How.
        act: Act,
        /// What it must be.
        expected: Expected,
    },
    /// Publish a draft once all sidecars have prepared it, on all of them at one instant.
    StartBarrier {
        /// Which draft.
        draft: String,
        /// What it must be.
        expected: Expected,
        /// Which part of the live sidecars must have prepared it, in percent.
        quorum_percent: u8,
        /// How long they may take, in seconds.
        deadline_s: u64,
    },
    /// Have sidecars switch to what they have prepared.
    CommitBarrier {
        /// Which.
        id: String,
        /// When.
        activate_at: Timestamp,
    },
    /// Have nobody switch.
    AbortBarrier {
        /// Which.
        id: String,
        /// Why.
        reason: String,
    },
    /// Take note of what a sidecar pushed on.
    NoteReceipts {
        /// Which sidecar.
        sidecar: String,
        /// Which run of it.
        boot: String,
        /// Its sinks.
        sinks: Vec<SinkStatus>,
        /// What became of its pushes.
        receipts: Vec<Receipt>,
    },
    /// Make or replace a connector.
    PutConnector {
        /// Its key.
        key: String,
        /// What it is.
        input: Box<ConnectorInput>,
        /// What it must replace.
        expected: Expected,
    },
    /// Sign with a new secret; the one before signs as well for a while.
    RotateConnector {
        /// Which connector.
        key: String,
        /// For how long, in seconds.
        overlap_s: u64,
    },
    /// Take note of what became of a connector by itself.
    NoteConnector {
        /// Which.
        key: String,
        /// What.
        news: ConnectorNews,
    },
    /// Make or replace a team, a rule or words.
    PutRouting {
        /// Its key.
        key: String,
        /// What it is.
        routing: Routing,
        /// What it must replace.
        expected: Expected,
    },
    /// Remove a connector, a team, a rule or words.
    RemoveRouting {
        /// What kind of thing.
        kind: Kind,
        /// Its key.
        key: String,
        /// What it must be.
        expected: Expected,
    },
    /// Make or replace a calendar or a promise.
    PutShelf {
        /// Its key.
        key: String,
        /// What it is.
        shelf: Box<Shelf>,
        /// What it must replace.
        expected: Expected,
    },
    /// Remove a calendar or a promise.
    RemoveShelf {
        /// What kind of thing.
        kind: Kind,
        /// Its key.
        key: String,
        /// What it must be.
        expected: Expected,
    },
    /// Make or replace a listing.
    PutListing {
        /// Its key.
        key: String,
        /// What is shown of it.
        listing: Box<Listing>,
        /// What it must replace.
        expected: Expected,
    },
    /// Have a listing go on its way.
    ActOnListing {
        /// Which.
        key: String,
        /// Where.
        act: ListingAct,
        /// What it must be.
        expected: Expected,
    },
    /// Ask for something, for a tenant.
    CreateRequest(Box<NewRequest>),
    /// Change what is asked for.
    EditRequest {
        /// Which.
        id: String,
        /// What is wanted instead.
        wants: Box<request::Wants>,
        /// What it must be.
        expected: Expected,
    },
    /// Have a request go on its way.
    ActOnRequest {
        /// Which.
        id: String,
        /// How.
        act: request::Act,
        /// What it must be.
        expected: Expected,
    },
    /// Say something about a request.
    CommentRequest {
        /// Which.
        id: String,
        /// What.
        text: String,
        /// Something elsewhere that belongs to it.
        link: Option<request::Link>,
    },
    /// Say what became of a step that a person does.
    TellStep {
        /// Of which request.
        id: String,
        /// What.
        told: StepTold,
        /// What the request must be.
        expected: Expected,
    },
    /// Go on with a request whose time has come.
    AdvanceRequest {
        /// Which.
        id: String,
    },
    /// Note that others are about to be asked about a step.
    BeginStep {
        /// Of which request.
        id: String,
        /// Which step.
        step: String,
        /// What they are asked.
        doing: Doing,
    },
    /// Note what others said of a step that they were asked about.
    NoteStep {
        /// Of which request.
        id: String,
        /// What.
        answer: Box<StepAnswer>,
    },
    /// Note what others say of a step by themselves.
    HearStep {
        /// Of which request.
        id: String,
        /// By which connector.
        connector: String,
        /// What.
        heard: Box<StepHeard>,
    },
    /// Undo what was done for something whose time is over.
    EndHolding {
        /// Which.
        id: String,
    },
    /// Say why a promise was not kept.
    ExplainBreach {
        /// Of which request.
        id: String,
        /// What was promised.
        metric: String,
        /// Why.
        reason: String,
    },
    /// Say who stands in for whom.
    SetDelegations {
        /// Who.
        setting: Box<DelegationSetting>,
        /// What it must replace.
        expected: Expected,
    },
    /// Set messages going again.
    Redrive(Redrive),
    /// Tell of what began or ended by an instant.
    TellEdges {
        /// The instant.
        now: Timestamp,
    },
    /// Tell how sidecars are.
    TellSidecars,
    /// Say how messages are sent.
    SetOutbox {
        /// How.
        setting: Box<OutboxSetting>,
        /// What it must replace.
        expected: Expected,
    },
    /// Say when changes of the catalog need approval.
    SetApproval {
        /// When.
        setting: ApprovalSetting,
        /// What it must replace.
        expected: Expected,
    },
    /// Say how long the past is kept.
    SetRetention {
        /// How long.
        setting: RetentionSetting,
        /// What it must replace.
        expected: Expected,
    },
    /// Note that versions before a commit may be gone.
    NoteHistory {
        /// The commit.
        pruned_before: Revision,
    },
    /// Add somebody who signs in.
    CreateUser(NewUser),
    /// Change somebody who signs in.
    ChangeUser {
        /// Who.
        id: String,
        /// How.
        change: UserChange,
        /// What they must be.
        expected: Expected,
    },
    /// Remove somebody who signs in.
    RemoveUser {
        /// Who.
        id: String,
        /// What they must be.
        expected: Expected,
    },
    /// Give somebody a new link to set a password.
    ResetUser {
        /// Who.
        id: String,
    },
    /// Set a password.
    SetPassword {
        /// What shows that one may.
        proof: Proof,
        /// The password.
        password: String,
    },
    /// Sign this browser out.
    SignOut,
    /// Sign all of one's own browsers out.
    SignOutOwn,
    /// Sign all browsers of somebody out.
    SignOutEverywhere {
        /// Who.
        user: String,
    },
    /// Make a service key.
    CreateKey(NewKey),
    /// Make a service key useless.
    RevokeKey {
        /// Its id.
        id: String,
    },
}

impl std::fmt::Debug for Command {
    // Some hold passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

/// A service key to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What it opens.
    pub scope: Scope,
    /// Who uses it, for people.
    pub label: String,
    /// From when on it opens nothing.
    pub expires_at: Option<Timestamp>,
    /// The tenants that it is for; all where there are none.
    pub tenants: BTreeSet<TenantKey>,
    /// The partner that it is for.
    pub partner: Option<String>,
}

impl NewKey {
    /// For all tenants and for good.
    #[must_use]
    pub fn new(scope: Scope, label: impl Into<String>) -> Self {
        Self {
            scope,
            label: label.into(),
            expires_at: None,
            tenants: BTreeSet::new(),
            partner: None,
        }
    }
}

impl Command {
    /// The stable word for it in the audit, in logs and in metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ImportCatalog { breaks_glass: false, .. } => "import_catalog",
            Self::ImportCatalog { breaks_glass: true, .. } => "import_catalog_breaking_glass",
            Self::ImportAll { .. } => "import_all",
            Self::PutTenant { .. } => "put_tenant",
            Self::DeleteTenant { .. } => "delete_tenant",
            Self::BulkTenants { .. } => "bulk_tenants",
            Self::CreateDraft { .. } => "create_draft",
            Self::EditDraft { .. } => "edit_draft",
            Self::ActOnDraft { act, .. } => act_code(act),
            Self::StartBarrier { .. } => "start_barrier",
            Self::CommitBarrier { .. } => "commit_barrier",
            Self::AbortBarrier { .. } => "abort_barrier",
            Self::NoteReceipts { .. } => "note_receipts",
            Self::PutConnector { .. } => "put_connector",
            Self::RotateConnector { .. } => "rotate_connector",
            Self::NoteConnector { news: ConnectorNews::Verified, .. } => "verify_connector",
            Self::NoteConnector { news: ConnectorNews::Disabled { .. }, .. } => "disable_connector",
            Self::PutRouting { routing: Routing::Team(_), .. } => "put_team",
            Self::PutRouting { routing: Routing::Route(_), .. } => "put_route",
            Self::PutRouting { routing: Routing::Template(_), .. } => "put_template",
            Self::RemoveRouting { kind: Kind::Connector, .. } => "remove_connector",
            Self::RemoveRouting { kind: Kind::Team, .. } => "remove_team",
            Self::RemoveRouting { kind: Kind::Route, .. } => "remove_route",
            Self::RemoveRouting { .. } => "remove_template",
            Self::PutShelf { shelf, .. } => match **shelf {
                Shelf::Calendar { .. } => "put_calendar",
                Shelf::Sla(_) => "put_sla",
            },
            Self::RemoveShelf { kind: Kind::Calendar, .. } => "remove_calendar",
            Self::RemoveShelf { .. } => "remove_sla",
            Self::PutListing { .. } => "put_listing",
            Self::ActOnListing { act, .. } => listing_code(*act),
            Self::CreateRequest(_) => "create_request",
            Self::EditRequest { .. } => "edit_request",
            Self::ActOnRequest { act, .. } => request_code(act),
            Self::CommentRequest { .. } => "comment_request",
            Self::TellStep { .. } => "tell_step",
            Self::AdvanceRequest { .. } => "advance_request",
            Self::BeginStep { .. } => "begin_step",
            Self::NoteStep { .. } => "note_step",
            Self::HearStep { .. } => "hear_step",
            Self::EndHolding { .. } => "end_holding",
            Self::ExplainBreach { .. } => "explain_breach",
            Self::SetDelegations { .. } => "set_delegations",
            Self::Redrive(_) => "redrive",
            Self::TellEdges { .. } => "tell_edges",
            Self::TellSidecars => "tell_sidecars",
            Self::SetOutbox { .. } => "set_outbox",
            Self::SetApproval { .. } => "set_approval",
            Self::SetRetention { .. } => "set_retention",
            Self::NoteHistory { .. } => "prune_history",
            Self::CreateUser(_) => "create_user",
            Self::ChangeUser { .. } => "change_user",
            Self::RemoveUser { .. } => "remove_user",
            Self::ResetUser { .. } => "reset_user",
            Self::SetPassword { .. } => "set_password",
            Self::SignOut => "sign_out",
            Self::SignOutOwn => "sign_out_own",
            Self::SignOutEverywhere { .. } => "sign_out_everywhere",
            Self::CreateKey(_) => "create_key",
            Self::RevokeKey { .. } => "revoke_key",
        }
    }

    /// What it takes to give it. Absent: it is about whoever gives it, or shows by itself that they
    /// may.
    #[must_use]
    pub const fn needs(&self) -> Option<Permission> {
        Some(match self {
            Self::ImportCatalog { .. } | Self::ImportAll { .. } => Permission::PublishCatalog,
            Self::PutTenant { .. } | Self::DeleteTenant { .. } | Self::BulkTenants { .. } => {
                Permission::WriteTenants
            }
            Self::CreateDraft { .. } | Self::EditDraft { .. } => Permission::EditDrafts,
            Self::ActOnDraft { act, .. } => act_needs(act),
            Self::StartBarrier { .. } | Self::CommitBarrier { .. } | Self::AbortBarrier { .. } => {
                Permission::PublishCatalog
            }
            Self::NoteReceipts { .. } => Permission::FollowSync,
            Self::PutConnector { .. }
            | Self::RotateConnector { .. }
            | Self::NoteConnector { .. }
            | Self::PutRouting { .. }
            | Self::RemoveRouting { .. } => Permission::ManageConnectors,
            Self::PutShelf { .. }
            | Self::RemoveShelf { .. }
            | Self::PutListing { .. }
            | Self::ActOnListing { .. } => Permission::ManageListings,
            Self::CreateRequest(_) | Self::EditRequest { .. } => Permission::MakeRequests,
            Self::ActOnRequest { act, .. } => request_needs(act),
            Self::CommentRequest { .. } => Permission::ReadMarketplace,
            Self::TellStep { .. }
            | Self::AdvanceRequest { .. }
            | Self::BeginStep { .. }
            | Self::NoteStep { .. }
            | Self::HearStep { .. }
            | Self::EndHolding { .. }
            | Self::ExplainBreach { .. } => Permission::OperateRequests,
            Self::SetDelegations { .. } => Permission::ManageSettings,
            Self::Redrive(_) => Permission::Redrive,
            Self::TellEdges { .. } | Self::TellSidecars => Permission::ManageSettings,
            Self::SetApproval { .. }
            | Self::SetOutbox { .. }
            | Self::SetRetention { .. }
            | Self::NoteHistory { .. } => Permission::ManageSettings,
            Self::CreateUser(_)
            | Self::ChangeUser { .. }
            | Self::RemoveUser { .. }
            | Self::ResetUser { .. }
            | Self::SignOutEverywhere { .. } => Permission::ManageUsers,
            Self::SetPassword { .. } | Self::SignOut | Self::SignOutOwn => return None,
            Self::CreateKey(_) | Self::RevokeKey { .. } => Permission::ManageKeys,
        })
    }
}

const fn request_code(act: &request::Act) -> &'static str {
    use request::Act as A;
    match act {
        A::Edit => "edit_request",
        A::Submit => "submit_request",
        A::Evaluate { .. } => "evaluate_request",
        A::Approve { .. } => "approve_request",
        A::Reject { .. } => "reject_request",
        A::AskInfo { .. } => "ask_about_request",
        A::Answer { .. } => "answer_about_request",
        A::MarkDuplicate { .. } => "mark_request_duplicate",
        A::Withdraw => "withdraw_request",
        A::Expire => "expire_request",
        A::BreakGlass { .. } => "approve_request_breaking_glass",
        A::Review { .. } => "review_request",
        A::Begin => "begin_request",
        A::Finish => "finish_request",
        A::Fail { .. } => "fail_request",
        A::Cancel { .. } => "cancel_request",
        A::Undone => "undo_request",
        A::Stick { .. } => "stick_request",
        A::RetryUndo => "retry_undo_of_request",
        A::Resolve { .. } => "resolve_request",
    }
}

/// What it takes to do something to a request.
pub(super) const fn request_needs(act: &request::Act) -> Permission {
    use request::Act as A;
    match act {
        A::Edit | A::Submit | A::Answer { .. } | A::Withdraw => Permission::MakeRequests,
        A::Approve { .. }
        | A::Reject { .. }
        | A::AskInfo { .. }
        | A::MarkDuplicate { .. }
        | A::Review { .. } => Permission::DecideRequests,
        A::BreakGlass { .. } => Permission::BreakGlass,
        A::Evaluate { .. }
        | A::Expire
        | A::Begin
        | A::Finish
        | A::Fail { .. }
        | A::Cancel { .. }
        | A::Undone
        | A::Stick { .. }
        | A::RetryUndo
        | A::Resolve { .. } => Permission::OperateRequests,
    }
}

const fn listing_code(act: ListingAct) -> &'static str {
    match act {
        ListingAct::Edit => "edit_listing",
        ListingAct::Submit => "submit_listing",
        ListingAct::Return => "return_listing",
        ListingAct::Publish => "publish_listing",
        ListingAct::Pause => "pause_listing",
        ListingAct::Resume => "resume_listing",
        ListingAct::Deprecate => "deprecate_listing",
        ListingAct::Retire => "retire_listing",
    }
}

const fn act_code(act: &Act) -> &'static str {
    match act {
        Act::Edit => "edit_draft",
        Act::Submit => "submit_draft",
        Act::Withdraw => "withdraw_draft",
        Act::Approve { .. } => "approve_draft",
        Act::Reject { .. } => "reject_draft",
        Act::Schedule { .. } => "schedule_draft",
        Act::Unschedule => "unschedule_draft",
        Act::Publish => "publish_draft",
        Act::BreakGlass { .. } => "publish_draft_breaking_glass",
        Act::Discard => "discard_draft",
        Act::RollBack => "roll_back_draft",
    }
}

/// What the caller thinks it is changing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expected {
    /// Whatever is there.
    #[default]
    Any,
    /// Nothing.
    Absent,
    /// Something.
    Present,
    /// What was last changed at this revision.
    At(Revision),
}

impl Expected {
    /// Whether it is what is there.
    #[must_use]
    pub fn is_met_by(self, present: Option<Revision>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => present.is_none(),
            Self::Present => present.is_some(),
            Self::At(revision) => present == Some(revision),
        }
    }
}

/// What came of a command.
#[derive(Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The commit.
    pub revision: Revision,
    /// What is odd about it and did not stop it.
    pub warnings: Vec<Problem>,
    /// The id of what was made.
    pub id: Option<String>,
    /// The text that its owner must keep: it is never shown again.
    pub secret: Option<String>,
    /// Whether it had been done before, by the same request.
    pub repeated: bool,
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outcome({} {:?} {:?})", self.revision, self.id, self.warnings)
    }
}
