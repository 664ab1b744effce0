//! A catalog as files for people. The same catalog always gives the same bytes.

use serde_json::{Map, Value};

use super::{Document, Hash, layout};
use crate::Draft;

/// A file of an exported catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogFile {
    /// Its name, one of [`FILE_NAMES`].
    pub name: &'static str,
    /// What stands in it.
    pub text: String,
}

/// Every name that a file of an exported catalog can have.
pub const FILE_NAMES: [&str; 16] = [
    "modules.toml",
    "modules.json",
    "features.toml",
    "features.json",
    "bundles.toml",
    "bundles.json",
    "plans.toml",
    "plans.json",
    "add-ons.toml",
    "add-ons.json",
    "promotions.toml",
    "promotions.json",
    "segments.toml",
    "segments.json",
    "regions.toml",
    "regions.json",
];

/// Each table of a catalog, with the place of its TOML file in [`FILE_NAMES`]. JSON stands next.
const TABLES: [(&str, usize); 8] = [
    ("modules", 0),
    ("features", 2),
    ("bundles", 4),
    ("plans", 6),
    ("add_ons", 8),
    ("promotions", 10),
    ("segments", 12),
    ("regions", 14),
];

/// Why a catalog cannot be written as files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the catalog cannot be written as files that mean the same: {0}")]
pub struct ExportError(String);

impl Draft {
    /// The catalog as TOML files, one for each kind of object that it has.
    ///
    /// TOML has no `null` and no number above 2^63 - 1. An object with one in a config or in a
    /// schema goes to a JSON file beside the others.
    ///
    /// # Errors
    /// Where the files, read again, would not be this catalog: it holds a time that no text names.
    pub fn to_files(&self) -> Result<Vec<CatalogFile>, ExportError> {
        let mut tables = self.to_tables()?;
        let mut files = Vec::new();
        for (table, at) in TABLES {
            let Some(Value::Object(objects)) = tables.remove(table) else { continue };
            let (text, rest) = layout::table(table, objects);
            if !text.is_empty() {
                files.push(CatalogFile { name: FILE_NAMES[at], text });
            }
            if !rest.is_empty() {
                let text = layout::json(table, rest).map_err(unwritable)?;
                files.push(CatalogFile { name: FILE_NAMES[at + 1], text });
            }
        }
        self.must_be(&files)?;
        Ok(files)
    }

    /// A hash of the content. It is the same however the catalog was written down.
    ///
    /// # Errors
    /// Where the catalog cannot be written at all.
    pub fn content_hash(&self) -> Result<Hash, ExportError> {
        // The tables are sorted, so that the text follows from the content alone.
        let text = Value::Object(self.to_tables()?).to_string();
        Ok(Hash::of(text.as_bytes()))
    }

    fn to_tables(&self) -> Result<Map<String, Value>, ExportError> {
        match serde_json::to_value(self) {
            Ok(Value::Object(tables)) => Ok(tables),
            Ok(_) => Err(ExportError("it is no table".into())),
            Err(error) => Err(unwritable(error)),
        }
    }

    /// That the files, read again, are this catalog. Nobody notices a wrong file in time.
    fn must_be(&self, files: &[CatalogFile]) -> Result<(), ExportError> {
        let read = Document::parse_all(files.iter().map(|file| (file.name, &*file.text)));
        let catalog = read.map_err(unwritable)?.catalog;
        let same = [
            ("modules", self.modules == catalog.modules),
            ("features", self.features == catalog.features),
            ("bundles", self.bundles == catalog.bundles),
            ("plans", self.plans == catalog.plans),
            ("add_ons", self.add_ons == catalog.add_ons),
            ("promotions", self.promotions == catalog.promotions),
            ("segments", self.segments == catalog.segments),
            ("regions", self.regions == catalog.regions),
        ];
        match same.iter().find(|(_, same)| !same) {
            None => Ok(()),
            Some((table, _)) => Err(unwritable(format_args!(
                "read again, something in `{table}` would be another one"
            ))),
        }
    }
}

fn unwritable(error: impl std::fmt::Display) -> ExportError {
    ExportError(error.to_string())
}
