//! What Super Admins set.

use entitlements_core::Revision;

use super::{App, Error, Expected, execute::Decided, parsed};
use crate::workflow::{
    Kind, ObjectId, Origin, Record, Write,
    settings::{RetentionSetting, Setting},
};

impl App {
    /// A setting, and the revision of its last change; as it is without one where nobody set it.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn setting<S: Setting>(&self) -> Result<(S, Option<Revision>), Error> {
        let stored = self.present(ObjectId::new(Kind::Setting, S::NAME), Expected::Any).await?;
        match stored {
            None => Ok((S::default(), None)),
            Some(row) => Ok((parsed("setting", S::NAME, &row.json)?, Some(row.revision))),
        }
    }

    /// How long the past is kept.
    ///
    /// # Errors
    /// As [`App::setting`].
    pub async fn retention(&self) -> Result<RetentionSetting, Error> {
        Ok(self.setting::<RetentionSetting>().await?.0)
    }

    pub(super) async fn decide_setting<S: Setting>(
        &self,
        origin: Origin,
        setting: &S,
        expected: Expected,
    ) -> Result<Decided, Error> {
        setting.check().map_err(Error::InvalidInput)?;
        let id = ObjectId::new(Kind::Setting, S::NAME);
        let present = self.present(id.clone(), expected).await?;
        let record = Record::of(setting).map_err(|error| Error::Unavailable(error.to_string()))?;
        let mut changes = origin.changeset(format!("setting {}", S::NAME));
        let expected = present.map(|row| row.revision);
        changes.writes.insert(id, Write { expected, after: Some(record) });
        Ok(changes.into())
    }
}
