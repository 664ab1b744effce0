//! The only write path: authorise, load what the command touches, decide, commit.

use std::{collections::BTreeMap, sync::Arc};

use entitlements_core::{Catalog, Draft, Problem, Revision, Tenant, TenantKey, Timestamp};

use super::{Access, Actor, App, Command, Error, Expected, NewToken, Outcome};
use crate::{
    ids,
    store::{CommitError, Conflict, Stored, Subject},
    workflow::{self, Changeset, Origin, Token, tokens},
};

/// How often a command is decided anew because something else was committed in between.
const TRIES_MAX: usize = 32;

/// How many findings in existing tenants an import tells of.
const WARNINGS_MAX: usize = 200;

/// A decision, not yet committed.
struct Decided {
    changes: Changeset,
    warnings: Vec<Problem>,
    token: Option<NewToken>,
}

impl From<Changeset> for Decided {
    fn from(changes: Changeset) -> Self {
        Self { changes, warnings: Vec::new(), token: None }
    }
}

impl App {
    /// Does what a command asks for, and says at which revision it was done.
    ///
    /// Where something else was committed in between, the command is decided anew on what is there
    /// now. A caller who said what it expects gets a conflict once that is no longer so.
    ///
    /// # Errors
    /// Where nothing was changed, and why.
    pub async fn execute(&self, actor: &Actor, command: Command) -> Result<Outcome, Error> {
        actor.may(Access::Admin)?;
        let prepared = Prepared::new(command)?;
        for _ in 0..TRIES_MAX {
            let origin =
                Origin { actor: actor.name().into(), command: prepared.code, at: self.now() };
            let decided = self.decide(origin, &prepared).await?;
            let subject = decided.changes.subject.clone();
            match self.store().commit(decided.changes).await {
                Ok(revision) => {
                    self.metrics().committed(prepared.code);
                    tracing::info!(revision = revision.0, %actor, command = prepared.code, subject);
                    let Decided { warnings, token, .. } = decided;
                    return Ok(Outcome { revision, warnings, token });
                }
                Err(CommitError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Busy)
    }

    async fn decide(&self, origin: Origin, command: &Prepared) -> Result<Decided, Error> {
        match &command.work {
            Work::Catalog { catalog, tenants, expected } => {
                self.decide_import(origin, catalog, tenants, *expected).await
            }
            Work::Tenant { key, tenant, expected } => {
                let present = self.present_tenant(key, *expected).await?;
                let (catalog, read) = self.catalog_now();
                let current = present.map(|row| row.revision);
                let tenant = Tenant::clone(tenant);
                workflow::tenants::put(origin, (&catalog, read), current, key.clone(), tenant)
                    .map(Decided::from)
                    .map_err(Error::InvalidTenants)
            }
            Work::Delete { key, expected } => {
                let present = self.present_tenant(key, *expected).await?;
                let present = present
                    .ok_or_else(|| Error::NotFound(format!("there is no tenant `{key}`")))?;
                Ok(workflow::tenants::delete(origin, present.revision, key.clone()).into())
            }
            Work::Tenants(tenants) => {
                let current = self.tenant_revisions(tenants).await?;
                let (catalog, read) = self.catalog_now();
                let tenants = BTreeMap::clone(tenants);
                // Many tenants take a while to check: not on the threads that serve others.
                apart(move || workflow::tenants::bulk(origin, (&catalog, read), &current, tenants))
                    .await?
                    .map(Decided::from)
                    .map_err(Error::InvalidTenants)
            }
            Work::Token { scope, label } => decide_token(origin, *scope, label.clone()),
            Work::Revoke(id) => Ok(tokens::revoke(origin, id.clone()).into()),
        }
    }

    async fn decide_import(
        &self,
        origin: Origin,
        catalog: &Arc<Catalog>,
        tenants: &Arc<BTreeMap<TenantKey, Tenant>>,
        expected: Expected,
    ) -> Result<Decided, Error> {
        let present = self.store().read(|store| store.catalog()).await?;
        let current = present.as_ref().map(|row| row.revision);
        met(expected, present, || Subject::Catalog)?;
        let problems = workflow::catalog::tenant_problems(catalog, tenants);
        if !problems.is_empty() {
            return Err(Error::InvalidTenants(problems));
        }
        let revisions = self.tenant_revisions(tenants).await?;
        let mut changes = workflow::catalog::import(origin, current, Arc::clone(catalog));
        changes.tenants = workflow::tenants::replacing(&revisions, BTreeMap::clone(tenants));
        let mut warnings = self.import_warnings(Arc::clone(catalog), Arc::clone(tenants)).await?;
        warnings.truncate(WARNINGS_MAX);
        Ok(Decided { changes, warnings, token: None })
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
        apart(find).await
    }

    /// The catalog in force and its revision.
    ///
    /// The revision is read first: it is never newer than the catalog, and where it is older, the
    /// commit sees that and the command is decided anew.
    fn catalog_now(&self) -> (Arc<Catalog>, Revision) {
        let revision = self.live().catalog_revision();
        (Arc::clone(self.live().pin().catalog()), revision)
    }

    async fn present_tenant(
        &self,
        key: &TenantKey,
        expected: Expected,
    ) -> Result<Option<Stored>, Error> {
        let wanted = key.clone();
        let present = self.store().read(move |store| store.tenant(wanted.as_str())).await?;
        met(expected, present.clone(), || Subject::Tenant(key.clone()))?;
        Ok(present)
    }

    async fn tenant_revisions(
        &self,
        tenants: &Arc<BTreeMap<TenantKey, Tenant>>,
    ) -> Result<BTreeMap<TenantKey, Revision>, Error> {
        let tenants = Arc::clone(tenants);
        Ok(self.store().read(move |store| store.tenant_revisions(tenants.keys())).await?)
    }
}

/// Does something on a thread of its own.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let failed = |error: tokio::task::JoinError| Error::Unavailable(error.to_string());
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

/// A command whose own input is right, whatever the store holds.
struct Prepared {
    code: &'static str,
    work: Work,
}

enum Work {
    Catalog { catalog: Arc<Catalog>, tenants: Arc<BTreeMap<TenantKey, Tenant>>, expected: Expected },
    Tenant { key: TenantKey, tenant: Box<Tenant>, expected: Expected },
    Delete { key: TenantKey, expected: Expected },
    Tenants(Arc<BTreeMap<TenantKey, Tenant>>),
    Token { scope: workflow::Scope, label: String },
    Revoke(String),
}

impl Prepared {
    fn new(command: Command) -> Result<Self, Error> {
        let code = command.code();
        let checked = |draft: Draft| match Catalog::new(draft) {
            Ok(catalog) => Ok(Arc::new(catalog)),
            Err(errors) => Err(Error::InvalidCatalog(errors.0)),
        };
        let work = match command {
            Command::ImportCatalog { draft, expected } => {
                Work::Catalog { catalog: checked(*draft)?, tenants: Arc::default(), expected }
            }
            Command::ImportAll { draft, tenants } => Work::Catalog {
                catalog: checked(*draft)?,
                tenants: Arc::new(tenants),
                expected: Expected::Any,
            },
            Command::PutTenant { key, tenant, expected } => Work::Tenant { key, tenant, expected },
            Command::DeleteTenant { key, expected } => Work::Delete { key, expected },
            Command::BulkTenants { tenants } => Work::Tenants(Arc::new(tenants)),
            Command::CreateToken { scope, label } => Work::Token { scope, label },
            Command::RevokeToken { id } => Work::Revoke(id),
        };
        Ok(Self { code, work })
    }
}

fn decide_token(origin: Origin, scope: workflow::Scope, label: String) -> Result<Decided, Error> {
    let (id, secret) = (ids::token_id()?, ids::token_secret()?);
    let created_at: Timestamp = origin.at;
    let secret_hash = tokens::secret_hash(&secret);
    let token = Token { id: id.clone(), scope, label, secret_hash, created_at };
    let changes = tokens::create(origin, token).map_err(Error::InvalidInput)?;
    let text = tokens::text(&id, &secret);
    Ok(Decided { changes, warnings: Vec::new(), token: Some(NewToken { id, text }) })
}

/// Goes on where what is there is what the caller expects.
fn met(
    expected: Expected,
    present: Option<Stored>,
    subject: impl FnOnce() -> Subject,
) -> Result<(), Error> {
    if expected.is_met_by(present.as_ref().map(|row| row.revision)) {
        return Ok(());
    }
    let expected = match expected {
        Expected::At(revision) => Some(revision),
        Expected::Any | Expected::Absent | Expected::Present => None,
    };
    Err(Error::Conflict(Box::new(Conflict { subject: subject(), expected, present })))
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict(conflict) => Self::Conflict(conflict),
            CommitError::LastAdminToken => Self::Refused(error.to_string()),
            CommitError::UnknownToken(_) => Self::NotFound(error.to_string()),
            CommitError::Unavailable(_) | CommitError::Broken(_) => {
                Self::Unavailable(error.to_string())
            }
        }
    }
}
