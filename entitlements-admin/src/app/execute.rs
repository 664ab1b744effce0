//! The only write path: authorise, load what the command touches, decide, commit.

use std::{collections::BTreeMap, sync::Arc};

use entitlements_core::{Catalog, Draft, Problem, Revision, Tenant, TenantKey};

use super::{App, Call, Command, Error, Expected, NewKey, Outcome, connectors::notice};
use crate::{
    ids,
    store::{CommitError, Committed, Conflict, Repeated, Stored},
    workflow::{
        self, Answer, Changeset, Key, Kind, ObjectId, Origin, key,
        notice::{Event, PublicationMove},
        settings::HistorySetting,
    },
};

/// How often a command is decided anew because something else was committed in between.
const TRIES_MAX: usize = 32;

/// How many findings in existing tenants an import tells of.
const WARNINGS_MAX: usize = 200;

/// A decision, not yet committed.
pub(super) struct Decided {
    pub(super) changes: Changeset,
    /// What the caller is told once it is committed, where what it asked for was refused and
    /// something else came of it.
    pub(super) then: Option<Error>,
}

impl From<Changeset> for Decided {
    fn from(changes: Changeset) -> Self {
        Self { changes, then: None }
    }
}

impl App {
    /// Does what a command asks for, and says at which revision it was done.
    ///
    /// Where something else was committed in between, the command is decided anew on what is there
    /// now. A caller who said what it expects gets a conflict once that is no longer so. A request
    /// that was done before is not done again, but answered the same.
    ///
    /// # Errors
    /// Where nothing was changed, and why.
    pub async fn execute(&self, call: impl Into<Call>, command: Command) -> Result<Outcome, Error> {
        let call = call.into();
        if let Some(permission) = command.needs() {
            call.actor.may(permission)?;
        }
        if let Some(done) = self.done_before(&call).await? {
            return Ok(self.outcome(&call, command.code(), done));
        }
        let prepared = Prepared::new(command)?;
        for _ in 0..TRIES_MAX {
            let origin = call.origin(prepared.code, self.now());
            let Decided { changes, then } = self.decide(&call, origin, &prepared).await?;
            let subject = changes.subject.clone();
            match self.store().commit(changes).await {
                Ok(done) => {
                    let (revision, actor) = (done.revision.0, &call.actor);
                    self.metrics().committed(prepared.code);
                    tracing::info!(revision, %actor, command = prepared.code, subject);
                    return match then {
                        Some(error) => Err(error),
                        None => Ok(self.outcome(&call, prepared.code, done)),
                    };
                }
                Err(CommitError::Conflict(_)) => self.catch_up().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Busy)
    }

    /// What came of the same request, where it was done already.
    async fn done_before(&self, call: &Call) -> Result<Option<Committed>, Error> {
        let Some(wanted) = call.idempotency.clone() else { return Ok(None) };
        let (actor, name) = (call.actor.name().to_owned(), wanted.key.clone());
        let found = self.store().read(move |store| store.repeated(&actor, &wanted)).await?;
        match found {
            None => Ok(None),
            Some(Repeated::Same(revision, answer)) => {
                Ok(Some(Committed { revision, answer, repeated: true }))
            }
            Some(Repeated::Other) => Err(CommitError::KeyReused(name).into()),
        }
    }

    fn outcome(&self, call: &Call, command: &str, done: Committed) -> Outcome {
        let Committed { revision, answer: Answer { id, warnings }, repeated } = done;
        let secret = match (command, &id) {
            ("create_key" | "create_user" | "reset_user", Some(id)) => {
                // What follows a dot is not part of the name.
                let name = id.split('.').next().unwrap_or(id);
                Some(key::text(name, &self.secret_of(call, id)))
            }
            ("put_connector" | "rotate_connector", Some(id)) => self.drawn_for_receiver(call, id),
            _ => None,
        };
        Outcome { revision, warnings, id, secret, repeated }
    }

    /// The secret of something that this request makes. It is drawn from a key that only the
    /// control plane has, so that the same request is answered the same without keeping it.
    pub(super) fn secret_of(&self, call: &Call, id: &str) -> String {
        let request = call.idempotency.as_ref().map_or("", |name| &name.key);
        self.0.publisher.derived_secret(call.actor.name(), request, id)
    }

    async fn decide(
        &self,
        call: &Call,
        origin: Origin,
        command: &Prepared,
    ) -> Result<Decided, Error> {
        match &command.work {
            Work::Catalog { catalog, tenants, expected, governed } => {
                let decided = self.decide_import(origin, catalog, tenants, *expected).await?;
                if let Some(breaks_glass) = *governed {
                    self.may_replace_catalog(call, catalog, breaks_glass).await?;
                }
                Ok(decided)
            }
            Work::Tenant { key, tenant, expected } => {
                self.decide_tenant(origin, key, tenant, *expected).await
            }
            Work::Delete { key, expected } => self.decide_delete(origin, key, *expected).await,
            Work::Tenants(tenants) => self.decide_tenants(origin, tenants).await,
            Work::Other(Command::CreateDraft { name, description, starts_with }) => {
                self.decide_new_draft(call, origin, name, description, starts_with).await
            }
            Work::Other(Command::EditDraft { id, edit, expected }) => {
                self.decide_edit(call, origin, id, edit, *expected).await
            }
            Work::Other(Command::ActOnDraft { id, act, expected }) => {
                self.decide_act(call, origin, id, act, *expected).await
            }
            Work::Other(Command::StartBarrier { draft, expected, quorum_percent, deadline_s }) => {
                let wanted = (*quorum_percent, *deadline_s);
                self.decide_barrier_start(call, origin, (draft, *expected), wanted).await
            }
            Work::Other(Command::CommitBarrier { id, activate_at }) => {
                self.decide_barrier_commit(call, origin, id, *activate_at).await
            }
            Work::Other(Command::AbortBarrier { id, reason }) => {
                self.decide_barrier_abort(origin, id, reason).await
            }
            Work::Other(Command::NoteReceipts { sidecar, boot, sinks, receipts }) => {
                self.decide_receipts(origin, (sidecar, boot), sinks, receipts).await
            }
            Work::Other(Command::PutConnector { key, input, expected }) => {
                self.decide_connector(call, origin, key, input, *expected).await
            }
            Work::Other(Command::RotateConnector { key, overlap_s }) => {
                self.decide_rotation(call, origin, key, *overlap_s).await
            }
            Work::Other(Command::NoteConnector { key, news }) => {
                self.decide_connector_news(origin, key, news).await
            }
            Work::Other(Command::PutRouting { key, routing, expected }) => {
                self.decide_routing(origin, key, routing, *expected).await
            }
            Work::Other(Command::RemoveRouting { kind, key, expected }) => {
                self.decide_routing_removal(origin, *kind, key, *expected).await
            }
            Work::Other(Command::PutShelf { key, shelf, expected }) => {
                self.decide_shelf(origin, key, shelf, *expected).await
            }
            Work::Other(Command::RemoveShelf { kind, key, expected }) => {
                self.decide_shelf_removal(origin, *kind, key, *expected).await
            }
            Work::Other(Command::PutListing { key, listing, expected }) => {
                self.decide_listing(call, origin, key, listing, *expected).await
            }
            Work::Other(Command::ActOnListing { key, act, expected }) => {
                self.decide_listing_act(call, origin, key, *act, *expected).await
            }
            Work::Other(Command::CreateRequest(wanted)) => {
                self.decide_new_request(call, origin, wanted).await
            }
            Work::Other(Command::EditRequest { id, wants, expected }) => {
                self.decide_request_edit(call, origin, id, wants, *expected).await
            }
            Work::Other(Command::ActOnRequest { id, act, expected }) => {
                self.decide_request_act(call, origin, id, act, *expected).await
            }
            Work::Other(Command::CommentRequest { id, text, link }) => {
                self.decide_comment(call, origin, id, text, link.as_ref()).await
            }
            Work::Other(Command::TellStep { id, told, expected }) => {
                self.decide_step_told(call, origin, id, told, *expected).await
            }
            Work::Other(Command::AdvanceRequest { id }) => {
                self.decide_advance(call, origin, id).await
            }
            Work::Other(Command::BeginStep { id, step, doing }) => {
                self.decide_step_begun(call, origin, id, step, *doing).await
            }
            Work::Other(Command::NoteStep { id, answer }) => {
                self.decide_step_noted(call, origin, id, answer).await
            }
            Work::Other(Command::HearStep { id, connector, heard }) => {
                self.decide_step_heard(call, origin, id, connector, heard).await
            }
            Work::Other(Command::EndHolding { id }) => {
                self.decide_holding_end(call, origin, id).await
            }
            Work::Other(Command::ExplainBreach { id, metric, reason }) => {
                self.decide_breach_reason(call, origin, id, metric, reason).await
            }
            Work::Other(Command::SetDelegations { setting, expected }) => {
                self.decide_setting(origin, &**setting, *expected).await
            }
            Work::Other(Command::Redrive(redrive)) => self.decide_redrive(origin, redrive).await,
            Work::Other(Command::TellEdges { now }) => self.decide_edges(origin, *now).await,
            Work::Other(Command::TellSidecars) => self.decide_sidecars(origin).await,
            Work::Other(Command::SetOutbox { setting, expected }) => {
                self.decide_setting(origin, &**setting, *expected).await
            }
            Work::Other(Command::SetApproval { setting, expected }) => {
                self.decide_setting(origin, setting, *expected).await
            }
            Work::Other(Command::SetRetention { setting, expected }) => {
                self.decide_setting(origin, setting, *expected).await
            }
            Work::Other(Command::NoteHistory { pruned_before }) => {
                let setting = HistorySetting { pruned_before: *pruned_before };
                self.decide_setting(origin, &setting, Expected::Any).await
            }
            Work::Other(Command::CreateUser(wanted)) => {
                self.decide_new_user(call, origin, wanted).await
            }
            Work::Other(Command::ChangeUser { id, change, expected }) => {
                self.decide_user_change(origin, id, change, *expected).await
            }
            Work::Other(Command::RemoveUser { id, expected }) => {
                self.decide_user_removal(origin, id, *expected).await
            }
            Work::Other(Command::ResetUser { id }) => self.decide_reset(call, origin, id).await,
            Work::Other(Command::SetPassword { proof, password }) => {
                self.decide_password(call, origin, proof, password).await
            }
            Work::Other(Command::SignOut) => self.decide_sign_out(call, origin),
            Work::Other(Command::SignOutOwn) => self.decide_sign_out_own(call, origin),
            Work::Other(Command::SignOutEverywhere { user }) => {
                self.decide_sign_out_everywhere(origin, user).await
            }
            Work::Other(Command::CreateKey(wanted)) => self.decide_key(call, origin, wanted),
            Work::Other(Command::RevokeKey { id }) => self.decide_revoke(origin, id).await,
            // Those that have a form of their own were taken above.
            Work::Other(_) => Err(Error::Unavailable("the command was not prepared".into())),
        }
    }

    async fn decide_tenant(
        &self,
        origin: Origin,
        key: &TenantKey,
        tenant: &Tenant,
        expected: Expected,
    ) -> Result<Decided, Error> {
        let present = self.present(ObjectId::tenant(key.as_str()), expected).await?;
        let (catalog, read) = self.catalog_now();
        let current = present.map(|row| row.revision);
        workflow::tenants::put(origin, (&catalog, read), current, key, tenant)
            .map(Decided::from)
            .map_err(Error::InvalidTenants)
    }

    async fn decide_delete(
        &self,
        origin: Origin,
        key: &TenantKey,
        expected: Expected,
    ) -> Result<Decided, Error> {
        let present = self.present(ObjectId::tenant(key.as_str()), expected).await?;
        let present =
            present.ok_or_else(|| Error::NotFound(format!("there is no tenant `{key}`")))?;
        self.may_be_removed(key.as_str()).await?;
        Ok(workflow::tenants::delete(origin, present.revision, key).into())
    }

    async fn decide_tenants(
        &self,
        origin: Origin,
        tenants: &Arc<BTreeMap<TenantKey, Tenant>>,
    ) -> Result<Decided, Error> {
        let current = self.tenant_revisions(tenants).await?;
        let (catalog, read) = self.catalog_now();
        let tenants = Arc::clone(tenants);
        // Many tenants take a while to check: not on the threads that serve others.
        apart(move || workflow::tenants::bulk(origin, (&catalog, read), &current, &tenants))
            .await?
            .map(Decided::from)
            .map_err(Error::InvalidTenants)
    }

    async fn decide_revoke(&self, origin: Origin, id: &str) -> Result<Decided, Error> {
        let present = self.present(ObjectId::new(Kind::Key, id), Expected::Any).await?;
        let present = present.ok_or_else(|| Error::NotFound(format!("there is no key `{id}`")))?;
        Ok(key::revoke(origin, id, present.revision).into())
    }

    fn decide_key(&self, call: &Call, origin: Origin, wanted: &NewKey) -> Result<Decided, Error> {
        let id = ids::key_id()?;
        let secret = self.secret_of(call, &id);
        let NewKey { scope, label, expires_at, tenants, partner } = wanted.clone();
        let (created_at, created_by) = (origin.at, origin.actor.clone());
        let principal = origin.principal.clone();
        let made =
            Key { scope, label, created_at, created_by, principal, expires_at, tenants, partner };
        key::create(origin, &id, &made, &secret).map(Decided::from).map_err(Error::InvalidInput)
    }

    async fn decide_import(
        &self,
        origin: Origin,
        catalog: &Arc<Catalog>,
        tenants: &Arc<BTreeMap<TenantKey, Tenant>>,
        expected: Expected,
    ) -> Result<Decided, Error> {
        let present = self.present(ObjectId::catalog(), expected).await?;
        let problems = workflow::catalog::tenant_problems(catalog, tenants);
        if !problems.is_empty() {
            return Err(Error::InvalidTenants(problems));
        }
        let revisions = self.tenant_revisions(tenants).await?;
        let current = present.map(|row| row.revision);
        let mut changes = workflow::catalog::replace(origin, current, catalog)
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        changes.writes.extend(
            workflow::tenants::replacing_all(&revisions, tenants).map_err(Error::InvalidTenants)?,
        );
        let moved = PublicationMove {
            draft: None,
            name: "The catalog".into(),
            by: changes.origin.actor.clone(),
            reason: changes.origin.reason.clone(),
        };
        let event = Event::PublicationPublished(moved);
        changes.notices.push(notice("catalog", changes.origin.at, &event)?);
        changes.answer.warnings =
            self.import_warnings(Arc::clone(catalog), Arc::clone(tenants)).await?;
        Ok(changes.into())
    }

    /// What means nothing under a new catalog in the tenants that stay as they are.
    async fn import_warnings(
        &self,
        catalog: Arc<Catalog>,
        replaced: Arc<BTreeMap<TenantKey, Tenant>>,
    ) -> Result<Vec<Problem>, Error> {
        let pin = self.live().pin();
        let find = move || {
            let stay = pin.tenants().filter(|view| !replaced.contains_key(view.key()));
            workflow::catalog::warnings(&catalog, stay.map(|view| (view.key(), view.tenant())))
        };
        Ok(at_most(apart(find).await?, WARNINGS_MAX))
    }

    /// The catalog in force and its revision.
    ///
    /// The revision is read first: it is never newer than the catalog, and where it is older, the
    /// commit sees that and the command is decided anew.
    fn catalog_now(&self) -> (Arc<Catalog>, Option<Revision>) {
        let revision = self.live().catalog_revision();
        (Arc::clone(self.live().pin().catalog()), revision)
    }

    /// What is there of an object, where it is what the caller expects.
    pub(super) async fn present(
        &self,
        id: ObjectId,
        expected: Expected,
    ) -> Result<Option<Stored>, Error> {
        let wanted = id.clone();
        let present = self.store().read(move |store| store.object(&wanted)).await?;
        if expected.is_met_by(present.as_ref().map(|row| row.revision)) {
            return Ok(present);
        }
        let expected = match expected {
            Expected::At(revision) => Some(revision),
            Expected::Any | Expected::Absent | Expected::Present => None,
        };
        Err(Error::Conflict(Box::new(Conflict { subject: id, expected, present })))
    }

    async fn tenant_revisions(
        &self,
        tenants: &Arc<BTreeMap<TenantKey, Tenant>>,
    ) -> Result<BTreeMap<String, Revision>, Error> {
        let tenants = Arc::clone(tenants);
        let read = move |store: &crate::store::Reading<'_>| {
            store.revisions(Kind::Tenant, tenants.keys().map(TenantKey::as_str))
        };
        Ok(self.store().read(read).await?)
    }
}

/// Does something on a thread of its own.
pub(super) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let failed = |error: tokio::task::JoinError| Error::Unavailable(error.to_string());
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

/// The first of many findings, and how many more there are.
fn at_most(mut problems: Vec<Problem>, most: usize) -> Vec<Problem> {
    if let Some(more) = problems.len().checked_sub(most).filter(|more| *more > 0) {
        problems.truncate(most);
        let message = format!("there are {more} more of these");
        problems.push(Problem { path: String::new(), code: "more".into(), message });
    }
    problems
}

/// A command whose own input is right, whatever the store holds.
struct Prepared {
    code: &'static str,
    work: Work,
}

enum Work {
    Catalog {
        catalog: Arc<Catalog>,
        tenants: Arc<BTreeMap<TenantKey, Tenant>>,
        expected: Expected,
        /// Whether the rule for approvals holds for it, and is to be broken.
        governed: Option<bool>,
    },
    Tenant {
        key: TenantKey,
        tenant: Box<Tenant>,
        expected: Expected,
    },
    Delete {
        key: TenantKey,
        expected: Expected,
    },
    Tenants(Arc<BTreeMap<TenantKey, Tenant>>),
    Other(Command),
}

impl Prepared {
    fn new(command: Command) -> Result<Self, Error> {
        let code = command.code();
        let checked = |draft: Draft| match Catalog::new(draft) {
            Ok(catalog) => Ok(Arc::new(catalog)),
            Err(errors) => Err(Error::InvalidCatalog(errors.0)),
        };
        let work = match command {
            Command::ImportCatalog { draft, expected, breaks_glass } => Work::Catalog {
                catalog: checked(*draft)?,
                tenants: Arc::default(),
                expected,
                governed: Some(breaks_glass),
            },
            Command::ImportAll { draft, tenants } => Work::Catalog {
                catalog: checked(*draft)?,
                tenants: Arc::new(tenants),
                expected: Expected::Any,
                governed: None,
            },
            Command::PutTenant { key, tenant, expected } => Work::Tenant { key, tenant, expected },
            Command::DeleteTenant { key, expected } => Work::Delete { key, expected },
            Command::BulkTenants { tenants } => Work::Tenants(Arc::new(tenants)),
            other => Work::Other(other),
        };
        Ok(Self { code, work })
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict(conflict) => Self::Conflict(conflict),
            CommitError::LastSuperAdmin => Self::Refused(error.to_string()),
            CommitError::KeyReused(_) => Self::KeyReused(error.to_string()),
            CommitError::Unavailable(_) | CommitError::Broken(_) => {
                Self::Unavailable(error.to_string())
            }
        }
    }
}
