//! How subjects, actions and resources of a request become a tenant and a feature.
//!
//! Without a file, a subject is `{"type": "tenant", "id": …}`, a resource `{"type": "feature", "id":
//! …}`, and the action is `use`. A file says how other types read. Properties come from whoever asks:
//! a mapping must use only those that the caller may be trusted with.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::request::{Action, Entity};

/// The action on features that needs no mapping.
pub(super) const USE: &str = "use";
const TENANT: &str = "tenant";
const FEATURE: &str = "feature";

/// How requests become questions.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mapping {
    #[serde(default)]
    subjects: BTreeMap<String, SubjectType>,
    #[serde(default)]
    resources: BTreeMap<String, ResourceType>,
}

/// A type of subjects.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectType {
    /// Which tenant a subject is: text with `{id}` and `{properties.…}` in it.
    tenant: String,
    /// Those that are known, with properties that a request can replace.
    #[serde(default)]
    known: BTreeMap<String, Map<String, Value>>,
}

/// A type of resources.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceType {
    /// Which feature an action on a resource is: text with `{id}`, `{properties.…}`,
    /// `{action.name}` and `{action.properties.…}` in it.
    feature: String,
    /// The actions that there are, for searches.
    #[serde(default)]
    actions: Vec<String>,
    /// The same for single actions, in the place of `feature`.
    #[serde(default)]
    action: BTreeMap<String, String>,
    /// Those that are known, with properties that a request can replace.
    #[serde(default)]
    known: BTreeMap<String, Map<String, Value>>,
}

impl Mapping {
    /// Reads a file.
    ///
    /// # Errors
    /// Says what is wrong with it, and where.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
        Self::parse(&text).map_err(|why| format!("`{}`: {why}", path.display()))
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mapping: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let subjects = mapping.subjects.iter().map(|(kind, subject)| {
            (format!("subjects.{kind}.tenant"), &subject.tenant, &SUBJECT[..])
        });
        let resources = mapping.resources.iter().flat_map(|(kind, resource)| {
            let single = resource.action.iter().map(move |(action, text)| {
                (format!("resources.{kind}.action.{action}"), text, &RESOURCE[..])
            });
            let all = (format!("resources.{kind}.feature"), &resource.feature, &RESOURCE[..]);
            std::iter::once(all).chain(single)
        });
        for (path, template, names) in subjects.chain(resources) {
            if let Some(name) = places(template).find(|name| !is_known(name, names)) {
                let allowed = names.join("`, `");
                return Err(format!("{path}: there is no `{{{name}}}`: use `{allowed}`"));
            }
        }
        Ok(mapping)
    }

    /// The tenant that a subject is; absent where none is named.
    pub(super) fn tenant(&self, subject: &Entity) -> Option<String> {
        let id = subject.id.as_deref();
        let Some(known) = self.subjects.get(&subject.kind) else {
            return (subject.kind == TENANT).then(|| id.map(Into::into))?;
        };
        let stored = id.and_then(|id| known.known.get(id));
        fill(&known.tenant, |name| match name.strip_prefix("properties.") {
            Some(name) => property(&subject.properties, stored, name),
            None => id.map(Into::into),
        })
    }

    /// The feature that an action on a resource is; absent where none is named.
    pub(super) fn feature(&self, action: &Action, resource: &Entity) -> Option<String> {
        let id = resource.id.as_deref();
        let Some(known) = self.resources.get(&resource.kind) else {
            let plain = resource.kind == FEATURE && action.name == USE;
            return plain.then(|| id.map(Into::into))?;
        };
        let stored = id.and_then(|id| known.known.get(id));
        let template = known.action.get(&action.name).unwrap_or(&known.feature);
        fill(template, |name| match name.split_once("properties.") {
            Some(("", name)) => property(&resource.properties, stored, name),
            Some((_, name)) => property(&action.properties, None, name),
            None if name == "action.name" => Some(action.name.clone()),
            None => id.map(Into::into),
        })
    }

    /// The ids of subjects of a type, where the file names them.
    pub(super) fn subjects(&self, kind: &str) -> Option<impl Iterator<Item = &str>> {
        self.subjects.get(kind).map(|known| known.known.keys().map(String::as_str))
    }

    /// The ids of resources of a type, where the file names them.
    pub(super) fn resources(&self, kind: &str) -> Option<impl Iterator<Item = &str>> {
        self.resources.get(kind).map(|known| known.known.keys().map(String::as_str))
    }

    /// The actions on resources of a type, in the order of their names.
    pub(super) fn actions(&self, kind: &str) -> Vec<&str> {
        match self.resources.get(kind) {
            Some(known) => {
                let mut names: Vec<&str> = known.actions.iter().map(String::as_str).collect();
                names.sort_unstable();
                names.dedup();
                names
            }
            None if kind == FEATURE => vec![USE],
            None => Vec::new(),
        }
    }

    /// Whether subjects of this type are the tenants themselves.
    pub(super) fn are_tenants(&self, kind: &str) -> bool {
        kind == TENANT && !self.subjects.contains_key(kind)
    }

    /// Whether resources of this type are the features themselves.
    pub(super) fn are_features(&self, kind: &str) -> bool {
        kind == FEATURE && !self.resources.contains_key(kind)
    }
}

const SUBJECT: [&str; 2] = ["id", "properties.…"];
const RESOURCE: [&str; 4] = ["id", "properties.…", "action.name", "action.properties.…"];

fn is_known(name: &str, names: &[&str]) -> bool {
    names.iter().any(|known| match known.strip_suffix('…') {
        Some(start) => name.strip_prefix(start).is_some_and(|rest| !rest.is_empty()),
        None => *known == name,
    })
}

/// The names between braces.
fn places(template: &str) -> impl Iterator<Item = &str> {
    template.split('{').skip(1).map(|rest| rest.split('}').next().unwrap_or(rest))
}

/// The text with its places filled; absent where one has no value.
fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut parts = template.split('{');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}')?;
        out += &value(name)?;
        out += rest;
    }
    Some(out)
}

/// What a request says of a property, or else what is stored.
fn property(
    given: &Map<String, Value>,
    stored: Option<&Map<String, Value>>,
    name: &str,
) -> Option<String> {
    match given.get(name).or_else(|| stored?.get(name))? {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(json: &str) -> Entity {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn without_a_file_tenants_use_features() {
        let mapping = Mapping::default();
        let acme = entity(r#"{"type":"tenant","id":"acme"}"#);
        assert_eq!(mapping.tenant(&acme).as_deref(), Some("acme"));
        assert_eq!(mapping.tenant(&entity(r#"{"type":"user","id":"acme"}"#)), None);
        let sso = entity(r#"{"type":"feature","id":"sso"}"#);
        let action = |name: &str| Action { name: name.into(), properties: Map::new() };
        assert_eq!(mapping.feature(&action("use"), &sso).as_deref(), Some("sso"));
        assert_eq!(mapping.feature(&action("delete"), &sso), None);
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        for (text, said) in [
            ("[subjects.user]\ntenant = \"{name}\"", "subjects.user.tenant: there is no `{name}`"),
            ("[subjects.user]\ntenant = \"{properties.}\"", "`{properties.}`"),
            ("[resources.r]\nfeature = \"{subject.id}\"", "resources.r.feature"),
            ("[resources.r]\nfeature = \"x\"\naction = { go = \"{y}\" }", "resources.r.action.go"),
            ("[subjects.user]\ntenants = \"x\"", "tenants"),
        ] {
            let error = Mapping::parse(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn what_has_no_value_names_nobody() {
        let mapping = Mapping::parse("[subjects.user]\ntenant = \"{properties.org}\"").unwrap();
        assert_eq!(mapping.tenant(&entity(r#"{"type":"user","id":"ada"}"#)), None);
        let nested = entity(r#"{"type":"user","id":"ada","properties":{"org":{"a":1}}}"#);
        assert_eq!(mapping.tenant(&nested), None);
        let named = entity(r#"{"type":"user","id":"ada","properties":{"org":"acme"}}"#);
        assert_eq!(mapping.tenant(&named).as_deref(), Some("acme"));
    }
}
