//! `catalog apply`: files made the catalog of a control plane, over nothing that nobody has seen.

use std::path::Path;

use entitlements_admin::workflow::draft::{self, Changes};
use entitlements_core::{Draft, document::Hash};

use super::{
    checked,
    lock::{LOCK_FILE, Lock, Seen},
    remote::{ListedDraft, Live, Remote, Sent},
    show, write,
};
use crate::cli::{ApplyArguments, Failure};

/// Runs the command.
pub(super) fn run(arguments: &ApplyArguments) -> Result<(), Failure> {
    let folder = &arguments.folder;
    if folder.is_file() {
        return Err(Failure::Usage(format!(
            "`{}` is a file: apply a folder, which also keeps `{LOCK_FILE}`",
            folder.display()
        )));
    }
    let wanted = checked(folder)?.catalog;
    let hash = wanted.content_hash().map_err(Failure::failed)?;
    let lock = Lock::read(folder)?.unwrap_or_default();
    let remote = Remote::new(&arguments.to, &arguments.key)?;
    let live = remote.live()?;
    let place = format!("{} ({})", remote.url(), live.environment);
    if live.hash == hash && live.revision > 0 {
        println!("nothing to do: {place} has this catalog since revision {}", live.revision);
        return keep(folder, lock, &live.environment, seen(live.revision, &hash));
    }
    let known = lock.of(&live.environment);
    if let Err(unseen) = look(known, &live, arguments.seen) {
        return Err(refuse(unseen, arguments, &remote, &live, &wanted));
    }
    println!("{}", show::changes(&draft::changes(&live.catalog, &wanted)));
    if let Some(name) = &arguments.draft {
        submit(&remote, name, &wanted, &hash)?;
        let seen = Seen { submitted: Some(hash.to_string()), ..seen(live.revision, &live.hash) };
        return keep(folder, lock, &live.environment, seen);
    }
    match remote.put_catalog(&wanted, live.revision)? {
        Sent::Done(revision) => {
            println!("revision {revision}: {place} has this catalog now");
            keep(folder, lock, &live.environment, seen(revision, &hash))
        }
        Sent::NeedsApproval => Err(Failure::failed(
            "somebody else has to approve this change: run it again with `--draft \"a name\"`, \
             which makes a draft and submits it",
        )),
    }
}

fn seen(revision: u64, hash: &Hash) -> Seen {
    Seen { revision, hash: hash.to_string(), submitted: None }
}

fn keep(folder: &Path, lock: Lock, environment: &str, seen: Seen) -> Result<(), Failure> {
    let text = lock.with(environment, seen).text()?;
    match write::replace(folder, &[(LOCK_FILE, text)], &[]) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::failed(format!(
            "it is done, but `{}` cannot be written: {error}",
            folder.join(LOCK_FILE).display()
        ))),
    }
}

/// Why a live catalog must not be replaced yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unseen<'s> {
    /// These files never followed it.
    Never,
    /// It is another one than they follow.
    Changed(&'s Seen),
    /// It is of another revision than was looked at.
    Later(u64),
}

/// Whether whoever applies knows what is replaced.
fn look<'s>(
    known: Option<&'s Seen>,
    live: &Live,
    looked_at: Option<u64>,
) -> Result<(), Unseen<'s>> {
    match (looked_at, known) {
        (Some(revision), _) if revision == live.revision => Ok(()),
        (Some(revision), _) => Err(Unseen::Later(revision)),
        (None, Some(seen)) if seen.knows(&live.hash) => Ok(()),
        (None, Some(seen)) => Err(Unseen::Changed(seen)),
        (None, None) if live.catalog == Draft::default() => Ok(()),
        (None, None) => Err(Unseen::Never),
    }
}

/// Says why not, what is different, and what to do.
fn refuse(
    unseen: Unseen<'_>,
    arguments: &ApplyArguments,
    remote: &Remote,
    live: &Live,
    wanted: &Draft,
) -> Failure {
    let (folder, url, revision) = (arguments.folder.display(), remote.url(), live.revision);
    let since = match unseen {
        Unseen::Changed(seen) => past(remote, seen).map(|past| (seen.revision, past)),
        Unseen::Never | Unseen::Later(_) => None,
    };
    let (what, changes) = match &since {
        Some((since, past)) => (
            format!("What changed there since revision {since}:"),
            draft::changes(past, &live.catalog),
        ),
        None => {
            ("What `apply` would change there:".to_owned(), draft::changes(&live.catalog, wanted))
        }
    };
    tell(&what, &changes);
    let why = match unseen {
        Unseen::Never => {
            format!("these files do not follow the live catalog (revision {revision})")
        }
        Unseen::Changed(seen) => format!(
            "the live catalog (revision {revision}) was changed elsewhere since revision {}",
            seen.revision
        ),
        Unseen::Later(looked_at) => {
            format!("the live catalog is of revision {revision}, not {looked_at}")
        }
    };
    Failure::failed(format!(
        "{why}: take it over with `entitlements-admin catalog export {folder} --from {url}`, or, \
         having looked at it, replace it with `--seen {revision}`"
    ))
}

/// The catalog that was seen, where the control plane still has it.
fn past(remote: &Remote, seen: &Seen) -> Option<Draft> {
    let past = remote.past(seen.revision).ok()??;
    let hash = past.content_hash().ok()?;
    (hash.to_string() == seen.hash).then_some(past)
}

fn tell(what: &str, changes: &Changes) {
    println!("{what}\n\n{}", show::changes(changes));
}

/// Makes a draft or brings it up to date, and submits it. Where that is done already it does nothing.
fn submit(remote: &Remote, name: &str, wanted: &Draft, hash: &Hash) -> Result<(), Failure> {
    let mut found = remote.open_drafts(name)?;
    if found.len() > 1 {
        return Err(Failure::failed(format!(
            "{} open drafts are called `{name}`: discard all but one, or take another name",
            found.len()
        )));
    }
    let (draft, is_new) = match found.pop() {
        Some(draft) => (draft, false),
        None => (remote.create_draft(name, wanted)?, true),
    };
    let ListedDraft { id, revision, stage, .. } = &draft;
    let address = format!("{}/v1/drafts/{id}", remote.url());
    let is_same = is_new || hash_of(&remote.draft_catalog(id)?)? == *hash;
    if is_same && stage != "draft" {
        println!("nothing to do: the draft is {}: {address}", stage.replace('_', " "));
        return Ok(());
    }
    let revision = if is_same { *revision } else { remote.edit_draft(&draft, wanted)? };
    remote.submit_draft(id, revision)?;
    let done = if is_new { "made" } else { "brought up to date" };
    println!("the draft `{name}` was {done} and submitted for approval: {address}");
    Ok(())
}

fn hash_of(catalog: &Draft) -> Result<Hash, Failure> {
    catalog.content_hash().map_err(Failure::failed)
}

#[cfg(test)]
mod tests {
    use entitlements_core::document::Document;

    use super::*;

    fn live(revision: u64, text: &str) -> Live {
        let catalog = Document::parse("a.toml", text).unwrap().catalog;
        let hash = hash_of(&catalog).unwrap();
        Live { environment: "default".into(), revision, catalog, hash }
    }

    #[test]
    fn only_what_was_seen_is_replaced() {
        let (one, other, none) = (live(3, "[plans.a]"), live(4, "[plans.b]"), live(0, ""));
        let known = seen(one.revision, &one.hash);
        assert_eq!(look(Some(&known), &one, None), Ok(()));
        assert_eq!(look(Some(&known), &other, None), Err(Unseen::Changed(&known)));
        assert_eq!(look(Some(&known), &none, None), Err(Unseen::Changed(&known)));
        assert_eq!(look(None, &one, None), Err(Unseen::Never));
        assert_eq!(look(None, &none, None), Ok(()));
        assert_eq!(look(Some(&known), &other, Some(4)), Ok(()));
        assert_eq!(look(None, &other, Some(4)), Ok(()));
        assert_eq!(look(Some(&known), &other, Some(3)), Err(Unseen::Later(3)));
        // Changed and changed back is the catalog that was seen.
        assert_eq!(look(Some(&known), &live(5, "[plans.a]"), None), Ok(()));
        let submitted = Seen { submitted: Some(other.hash.to_string()), ..known };
        assert_eq!(look(Some(&submitted), &other, None), Ok(()));
    }
}
