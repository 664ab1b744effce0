//! Publishes the drafts whose time has come.

use crate::{
    app::{Actor, App, Command, Error, Expected},
    workflow::publication::Act,
};

/// Publishes what is due. What cannot be published any more goes back to review, with a note.
pub(super) async fn run(app: &App) -> Result<(), Error> {
    let actor = Actor::local("scheduler");
    for draft in app.drafts_due().await? {
        let (id, expected) = (draft.id, Expected::At(draft.revision));
        let command = Command::ActOnDraft { id: id.clone(), act: Act::Publish, expected };
        match app.execute(&actor, command).await {
            Ok(outcome) => {
                tracing::info!(revision = outcome.revision.0, draft = id, "published as scheduled");
            }
            Err(error @ (Error::Publication(_) | Error::Conflict(_))) => {
                tracing::warn!(%error, draft = id, "a scheduled draft was not published");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
