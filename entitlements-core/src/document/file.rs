//! A document: a catalog, tenants and what is expected of them, in one file or in several.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    ByName, DocumentError, Located, Place,
    source::{self, Source},
    unique_keys,
};
use crate::{
    Catalog, Draft, FeatureKey, Json, Limit, Problem, Reason, Tenant, TenantKey, Timestamp,
    Verdict, catalog,
};

/// What stands in one file, or in several that are read as one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Document {
    /// What is sold. Its tables stand at the top of the file.
    #[serde(flatten)]
    pub catalog: Draft,
    /// Who it is sold to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tenants: BTreeMap<TenantKey, Tenant>,
    /// What answers are expected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<Expectation>,
    /// The files it was read from, in their order.
    #[serde(skip)]
    pub(super) sources: Vec<Source>,
}

/// The tables of a file. They are named one by one, so that a misspelt one is found.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Tables {
    /// The JSON Schema that an editor checks the file with.
    #[serde(rename = "$schema")]
    _schema: Option<String>,
    #[serde(deserialize_with = "unique_keys")]
    modules: BTreeMap<crate::ModuleKey, crate::Module>,
    #[serde(deserialize_with = "unique_keys")]
    features: BTreeMap<FeatureKey, crate::Feature>,
    #[serde(deserialize_with = "unique_keys")]
    bundles: BTreeMap<crate::BundleKey, crate::Bundle>,
    #[serde(deserialize_with = "unique_keys")]
    plans: BTreeMap<crate::PlanKey, crate::Plan>,
    #[serde(deserialize_with = "unique_keys")]
    add_ons: BTreeMap<crate::AddOnKey, crate::AddOn>,
    #[serde(deserialize_with = "unique_keys")]
    promotions: BTreeMap<crate::PromotionKey, crate::Promotion>,
    #[serde(deserialize_with = "unique_keys")]
    segments: BTreeMap<crate::SegmentKey, crate::Segment>,
    #[serde(deserialize_with = "unique_keys")]
    regions: BTreeMap<crate::RegionKey, crate::Region>,
    #[serde(deserialize_with = "unique_keys")]
    tenants: BTreeMap<TenantKey, Tenant>,
    expect: Vec<Expectation>,
}

/// One expected answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// When.
    pub at: Timestamp,
    /// Who. It may be one that is not there.
    pub tenant: TenantKey,
    /// What. It may be one that is not there.
    pub feature: FeatureKey,
    /// The answer: `false`, `true`, a number, `"unlimited"`, a level's name or a table.
    pub answer: Expected,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What it rests on, such as `promotion:spring`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What this shows, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// An answer as people write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(
    untagged,
    expecting = "an answer is `false`, `true`, a number, `\"unlimited\"`, a level's name or a table"
)]
pub enum Expected {
    /// Denied, or a switch that is on.
    Flag(bool),
    /// At most so many.
    Number(u64),
    /// `unlimited`, or a level's name.
    Word(String),
    /// The settings of a config.
    Config(Json),
}

impl Expected {
    /// Whether a verdict is this.
    #[must_use]
    pub fn matches(&self, verdict: Verdict<'_>) -> bool {
        match (self, verdict) {
            (Self::Flag(allowed), Verdict::Allowed | Verdict::Denied) => {
                *allowed == verdict.is_allowed()
            }
            (Self::Number(number), Verdict::Limit(Limit::AtMost(most))) => *number == most,
            (Self::Word(word), Verdict::Limit(Limit::Unlimited)) => word == "unlimited",
            (Self::Word(word), Verdict::Level(name)) => word == name,
            (Self::Config(json), Verdict::Config(text)) => json.as_str() == text,
            _ => false,
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(false) => f.write_str("denied"),
            Self::Flag(true) => f.write_str("allowed"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Word(word) => f.write_str(word),
            Self::Config(json) => write!(f, "{json}"),
        }
    }
}

impl Document {
    /// Reads a file: JSON where its name ends in `.json`, else TOML.
    ///
    /// # Errors
    /// Where it cannot be read: the file, the line, the path and what was expected.
    pub fn parse(name: &str, text: &str) -> Result<Self, DocumentError> {
        let is_json = std::path::Path::new(name)
            .extension()
            .is_some_and(|end| end.eq_ignore_ascii_case("json"));
        let tables = if is_json { json(name, text) } else { toml(name, text) }?;
        let text = if is_json { String::new() } else { text.into() };
        Ok(Self::of(tables, name, text))
    }

    fn of(tables: Tables, name: &str, text: String) -> Self {
        let Tables {
            modules,
            features,
            bundles,
            plans,
            add_ons,
            promotions,
            segments,
            regions,
            tenants,
            expect,
            _schema,
        } = tables;
        let catalog =
            Draft { modules, features, bundles, plans, add_ons, promotions, segments, regions };
        let source = Source::new(name, text, &catalog, &tenants, expect.len());
        Self { catalog, tenants, expect, sources: vec![source] }
    }

    /// Checks the catalog and the tenants.
    ///
    /// # Errors
    /// Every problem at once, with the file and, in TOML, the line.
    pub fn check(&self) -> Result<Catalog, DocumentError> {
        let (catalog, mut problems) = match Catalog::new(self.catalog.clone()) {
            Ok(catalog) => (Some(catalog), Vec::new()),
            Err(catalog::CatalogErrors(problems)) => (None, problems),
        };
        for (key, tenant) in &self.tenants {
            let found = catalog::tenant_problems(&self.catalog, tenant);
            problems.extend(found.into_iter().map(|problem| Problem {
                path: format!("tenants.{key}.{}", problem.path),
                ..problem
            }));
        }
        match catalog {
            Some(catalog) if problems.is_empty() => Ok(catalog),
            _ => Err(DocumentError::Wrong(self.locate(problems))),
        }
    }

    /// What is expected, each with the place where it stands.
    pub fn expectations(&self) -> impl Iterator<Item = (Place, &Expectation)> {
        let places = self.sources.iter().flat_map(Source::expectations);
        places.zip(&self.expect)
    }

    fn locate(&self, problems: Vec<Problem>) -> Vec<Located> {
        let mut trees: Vec<_> = self.sources.iter().map(|source| (source, source.tree())).collect();
        let mut place = |path: &str| {
            let (source, tree) =
                trees.iter_mut().max_by_key(|(source, _)| source.object_of(path).map(str::len))?;
            Some(Place { file: source.name().into(), line: source.line_in(tree.as_ref(), path) })
        };
        let located = |problem: Problem| {
            let place = place(&problem.path).unwrap_or_default();
            Located { place, problem }
        };
        problems.into_iter().map(located).collect()
    }
}

fn json(name: &str, text: &str) -> Result<Tables, DocumentError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let tables: Tables =
        serde_path_to_error::deserialize(ByName(&mut reader)).map_err(|error| {
            let path = error.path().to_string();
            let line = Some(error.inner().line()).filter(|line| *line > 0);
            // The line stands in front; serde_json says it again at the end.
            let message = error.inner().to_string();
            let message =
                message.rsplit_once(" at line ").map_or(message.clone(), |(head, _)| head.into());
            syntax(name, line, &path, message)
        })?;
    reader.end().map_err(|error| {
        syntax(name, Some(error.line()), "", "there is more after the end of the document".into())
    })?;
    Ok(tables)
}

fn toml(name: &str, text: &str) -> Result<Tables, DocumentError> {
    let reader = toml::Deserializer::parse(text).map_err(|error| {
        let line = error.span().map(|span| source::line_at(text, span.start));
        syntax(name, line, "", error.message().into())
    })?;
    serde_path_to_error::deserialize(ByName(reader)).map_err(|error| {
        let path = error.path().to_string();
        let line = error.inner().span().map(|span| source::line_at(text, span.start));
        syntax(name, line, &path, error.inner().message().into())
    })
}

fn syntax(file: &str, line: Option<usize>, path: &str, message: String) -> DocumentError {
    DocumentError::Syntax(Located {
        place: Place { file: file.into(), line },
        problem: Problem::new(path, "syntax", message),
    })
}
