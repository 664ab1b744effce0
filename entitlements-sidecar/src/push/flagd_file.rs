//! A definition file for flagd, replaced as a whole.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
};

use super::{Doing, Done, Job, Seen, Sink, SinkError};
use crate::flags::flagd;

/// A file that flagd, or one of its clients, watches.
#[derive(Debug)]
pub(crate) struct FlagdFile {
    path: PathBuf,
    environment: String,
    written: Option<String>,
    flags: Option<blake3::Hash>,
}

impl FlagdFile {
    pub(crate) fn new(path: PathBuf, environment: &str) -> Self {
        Self { path, environment: environment.into(), written: None, flags: None }
    }

    fn carry(&mut self, job: &Job) -> Result<Done, SinkError> {
        let Some(kept) = &job.flags else {
            return Err(SinkError::retry("its flags are being worked out"));
        };
        let definition = flagd::definition(&kept.gated, kept.revision, &self.environment);
        let definition = definition.map_err(SinkError::Refused)?;
        // Another version of the same flags is no reason to have every client read them again.
        let is_same = self.flags == Some(definition.flags) && self.look() == Seen::InStep;
        let found = fs::read_to_string(&self.path).ok();
        let is_there = is_same || found.as_ref() == Some(&definition.text);
        let text = definition.text;
        if !is_there {
            self.replace(&text).map_err(|error| {
                SinkError::retry(format!("cannot write `{}`: {error}", self.path.display()))
            })?;
        }
        let left_out = kept.gated.left_out();
        let detail = (!left_out.is_empty()).then(|| left_out_text(&left_out));
        let changed = u64::from(!is_there);
        if !is_same {
            (self.written, self.flags) = (Some(text), Some(definition.flags));
        }
        Ok(Done { changed, detail })
    }

    /// A crash leaves the old file or the new one, and a reader never finds half of one.
    fn replace(&self, text: &str) -> io::Result<()> {
        let temporary = self.path.with_extension("tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    }

    fn look(&self) -> Seen {
        match fs::read_to_string(&self.path) {
            Ok(found) if Some(&found) == self.written.as_ref() => Seen::InStep,
            Ok(_) => Seen::Drifted("the file holds something else".into()),
            Err(error) => Seen::Drifted(format!("the file cannot be read: {error}")),
        }
    }
}

/// What could not be told, in a sentence.
pub(super) fn left_out_text(left_out: &[(String, String)]) -> String {
    let some: Vec<String> =
        left_out.iter().take(3).map(|(feature, why)| format!("`{feature}`: {why}")).collect();
    format!("{} features are left out: {}", left_out.len(), some.join("; "))
}

impl Sink for FlagdFile {
    fn push<'a>(&'a mut self, job: &'a Job) -> Doing<'a, Done> {
        Box::pin(async move { self.carry(job) })
    }

    fn check<'a>(&'a mut self, _: &'a Job) -> Doing<'a, Seen> {
        Box::pin(async move { Ok(self.look()) })
    }
}
