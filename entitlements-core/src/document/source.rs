//! A file that a document was read from: its name, and where in it things stand.

use std::collections::BTreeMap;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::Place;
use crate::{Draft, Tenant, TenantKey};

/// A file that a document was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    name: String,
    /// Its text where that is TOML. JSON has no lines to name once it is read.
    text: String,
    /// The path of each object in it, such as `plans.pro`.
    objects: Vec<String>,
    /// How many expectations it holds.
    expectations: usize,
}

/// The places in a TOML text.
pub(super) type Tree<'t> = Spanned<DeTable<'t>>;

impl Source {
    pub(super) fn new(
        name: &str,
        text: String,
        catalog: &Draft,
        tenants: &BTreeMap<TenantKey, Tenant>,
        expectations: usize,
    ) -> Self {
        Self { name: name.into(), text, objects: objects(catalog, tenants), expectations }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The object of this file that a path leads to or into. Keys may hold dots, so it is the one
    /// with the longest path that fits.
    pub(super) fn object_of(&self, path: &str) -> Option<&str> {
        let objects = self.objects.iter().map(String::as_str);
        objects.filter(|object| starts_with_key(path, object)).max_by_key(|object| object.len())
    }

    /// Where things stand in it, for [`Source::line_in`].
    pub(super) fn tree(&self) -> Option<Tree<'_>> {
        DeTable::parse(&self.text).ok()
    }

    /// The line of the innermost thing of a path that stands in it.
    pub(super) fn line_in(&self, tree: Option<&Tree<'_>>, path: &str) -> Option<usize> {
        let offset = offset_of(tree?.get_ref(), path)?;
        Some(line_at(&self.text, offset))
    }

    /// Where a path of this file stands.
    pub(super) fn place(&self, path: &str) -> Place {
        Place { file: self.name.clone(), line: self.line_in(self.tree().as_ref(), path) }
    }

    /// Where each expectation stands.
    pub(super) fn expectations(&self) -> impl Iterator<Item = Place> {
        let tree = self.tree();
        (0..self.expectations).map(move |index| {
            let line = self.line_in(tree.as_ref(), &format!("expect[{index}]"));
            Place { file: self.name.clone(), line }
        })
    }
}

fn objects(catalog: &Draft, tenants: &BTreeMap<TenantKey, Tenant>) -> Vec<String> {
    fn paths<'m, K: std::fmt::Display, V>(
        table: &'m str,
        map: &'m BTreeMap<K, V>,
    ) -> impl Iterator<Item = String> {
        map.keys().map(move |key| format!("{table}.{key}"))
    }
    let Draft { modules, features, bundles, plans, add_ons, promotions, segments, regions } =
        catalog;
    paths("modules", modules)
        .chain(paths("features", features))
        .chain(paths("bundles", bundles))
        .chain(paths("plans", plans))
        .chain(paths("add_ons", add_ons))
        .chain(paths("promotions", promotions))
        .chain(paths("segments", segments))
        .chain(paths("regions", regions))
        .chain(paths("tenants", tenants))
        .collect()
}

/// The line, from 1, of a place in a text.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Where the innermost thing of a path that stands in the file starts. Keys may hold dots, so at
/// each step the longest key that fits is followed.
fn offset_of(table: &DeTable<'_>, path: &str) -> Option<usize> {
    let (key, value) = table
        .iter()
        .filter(|(key, _)| starts_with_key(path, key.get_ref()))
        .max_by_key(|(key, _)| key.get_ref().len())?;
    let mut rest = path.get(key.get_ref().len()..)?;
    let mut value = value;
    while let Some((index, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let DeValue::Array(list) = value.get_ref() else { break };
        value = list.get(index.parse::<usize>().ok()?)?;
        rest = after;
    }
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    let inner = match value.get_ref() {
        DeValue::Table(inner) if !rest.is_empty() => offset_of(inner, rest),
        _ => None,
    };
    // A table written with `[a.b]` starts at its header, a value at itself.
    Some(inner.unwrap_or(value.span().start))
}

fn starts_with_key(path: &str, key: &str) -> bool {
    path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
