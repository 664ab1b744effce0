//! What makes a draft a catalog. Every rule here finds all that breaks it, and goes on.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::{self, Display},
};

use super::{Amount, Audience, Draft, Enrolment, FeatureKind, Grants};
use crate::{FeatureKey, Problem, Tenant, Window};

/// All that is wrong with a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogErrors(pub Vec<Problem>);

impl Display for CatalogErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CatalogErrors {}

/// The most entries a table may have; a snapshot numbers them in two bytes.
const ENTRIES_MAX: usize = 10_000;

/// The most audiences a catalog may have, those inside others included. The same reason.
const AUDIENCES_MAX: usize = 50_000;

/// The most entries of one kind that a tenant may have.
const TENANT_ENTRIES_MAX: usize = crate::facts::ENTRIES_MAX;

/// The most steps that requiring, including or extending may go down. It bounds recursion.
const DEPTH_MAX: usize = 64;

pub(super) fn catalog(draft: &Draft) -> Vec<Problem> {
    let mut check = Check { draft, problems: Vec::new(), audiences: 0 };
    check.sizes();
    check.features();
    check.modules();
    check.bundles();
    check.plans();
    check.add_ons();
    check.promotions();
    check.segments();
    check.regions();
    check.audience_count();
    check.problems
}

pub(super) fn tenant(draft: &Draft, tenant: &Tenant) -> Vec<Problem> {
    let mut check = Check { draft, problems: Vec::new(), audiences: 0 };
    check.tenant(tenant);
    check.problems
}

struct Check<'d> {
    draft: &'d Draft,
    problems: Vec<Problem>,
    audiences: usize,
}

impl Check<'_> {
    fn sizes(&mut self) {
        let draft = self.draft;
        let tables = [
            ("features", draft.features.len()),
            ("modules", draft.modules.len()),
            ("bundles", draft.bundles.len()),
            ("plans", draft.plans.len()),
            ("add_ons", draft.add_ons.len()),
            ("promotions", draft.promotions.len()),
            ("segments", draft.segments.len()),
            ("regions", draft.regions.len()),
        ];
        for (table, count) in tables {
            self.at_most(table, count, ENTRIES_MAX);
        }
        let modules = draft.modules.values().flat_map(|module| &module.integrations);
        let features = draft.features.values().flat_map(|feature| &feature.integrations);
        let integrations: BTreeSet<_> = modules.chain(features).collect();
        self.at_most("integrations", integrations.len(), ENTRIES_MAX);
    }

    fn audience_count(&mut self) {
        self.at_most("audiences", self.audiences, AUDIENCES_MAX);
    }

    fn at_most(&mut self, path: &str, count: usize, most: usize) {
        if count > most {
            self.report(path, "too_many", format!("there are {count}; at most {most} fit"));
        }
    }

    fn features(&mut self) {
        for (key, feature) in &self.draft.features {
            let path = format!("features.{key}");
            self.feature_kind(&format!("{path}.kind"), &feature.kind);
            if let Some(module) = &feature.module {
                self.known(&format!("{path}.module"), "module", module, &self.draft.modules);
            }
            for required in &feature.requires {
                self.known(&format!("{path}.requires"), "feature", required, &self.draft.features);
            }
            self.audience(&format!("{path}.available_to"), &feature.available_to);
        }
        let requires = |key: &FeatureKey| {
            let feature = self.draft.features.get(key);
            let module =
                feature.and_then(|f| f.module.as_ref()).and_then(|m| self.draft.modules.get(m));
            let own = feature.into_iter().flat_map(|f| &f.requires);
            own.chain(module.into_iter().flat_map(|m| &m.requires)).collect()
        };
        let circle = circle(self.draft.features.keys(), requires);
        self.no_circle("features", "requires", circle);
    }

    fn feature_kind(&mut self, path: &str, kind: &FeatureKind) {
        match kind {
            FeatureKind::Switch => {}
            FeatureKind::Limit { unit } => {
                if unit.trim().is_empty() {
                    self.report(
                        path,
                        "no_unit",
                        "a limit counts something; name its `unit`, such as `seat`".into(),
                    );
                }
            }
            FeatureKind::Level { levels } => {
                if levels.is_empty() {
                    self.report(
                        path,
                        "no_levels",
                        "a level feature needs at least one name in `levels`".into(),
                    );
                }
                let mut seen = HashSet::new();
                for level in levels {
                    if !seen.insert(level) {
                        self.report(
                            path,
                            "duplicate_level",
                            format!("`{level}` stands in `levels` twice"),
                        );
                    }
                    if matches!(level.as_str(), "unlimited" | "none") {
                        self.report(
                            path,
                            "reserved_level",
                            format!(
                                "`{level}` means something else in answers; choose another name"
                            ),
                        );
                    }
                }
            }
            FeatureKind::Config { schema } => {
                if let Err(why) = json_schema::compile(schema) {
                    self.report(
                        path,
                        "bad_schema",
                        format!("`schema` is not a JSON Schema: {why}"),
                    );
                }
            }
        }
    }

    fn modules(&mut self) {
        for (key, module) in &self.draft.modules {
            let path = format!("modules.{key}");
            for required in &module.requires {
                self.known(&format!("{path}.requires"), "feature", required, &self.draft.features);
            }
            self.audience(&format!("{path}.available_to"), &module.available_to);
        }
    }

    fn bundles(&mut self) {
        for (key, bundle) in &self.draft.bundles {
            let path = format!("bundles.{key}");
            self.contents(&path, &bundle.bundles, &bundle.grants);
        }
        let includes = |key: &crate::BundleKey| {
            self.draft.bundles.get(key).into_iter().flat_map(|b| &b.bundles).collect()
        };
        let circle = circle(self.draft.bundles.keys(), includes);
        self.no_circle("bundles", "bundles", circle);
    }

    fn plans(&mut self) {
        for (key, plan) in &self.draft.plans {
            let path = format!("plans.{key}");
            self.contents(&path, &plan.bundles, &plan.grants);
            if let Some(parent) = &plan.extends {
                self.known(&format!("{path}.extends"), "plan", parent, &self.draft.plans);
            }
            let mut starts = HashSet::new();
            for (index, version) in plan.versions.iter().enumerate() {
                let path = format!("{path}.versions[{index}]");
                self.contents(&path, &version.bundles, &version.grants);
                if let Some(parent) = &version.extends {
                    self.known(&format!("{path}.extends"), "plan", parent, &self.draft.plans);
                }
                if !starts.insert(version.from) {
                    self.report(
                        &format!("{path}.from"),
                        "duplicate_version",
                        format!(
                            "another version starts at `{}` too; give each its own instant",
                            version.from
                        ),
                    );
                }
                if version.existing_from.is_some_and(|existing| existing < version.from) {
                    self.report(&format!("{path}.existing_from"), "version_order", "existing subscriptions cannot have a version before new ones; make it `from` or later".into());
                }
            }
        }
        let extends = |key: &crate::PlanKey| {
            let plan = self.draft.plans.get(key);
            let first = plan.and_then(|p| p.extends.as_ref());
            let later =
                plan.into_iter().flat_map(|p| &p.versions).filter_map(|v| v.extends.as_ref());
            first.into_iter().chain(later).collect()
        };
        let circle = circle(self.draft.plans.keys(), extends);
        self.no_circle("plans", "extends", circle);
    }

    fn add_ons(&mut self) {
        for (key, add_on) in &self.draft.add_ons {
            let path = format!("add_ons.{key}");
            self.contents(&path, &add_on.bundles, &add_on.grants);
            self.audience(&format!("{path}.available_to"), &add_on.available_to);
            for other in &add_on.requires {
                self.known(&format!("{path}.requires"), "add-on", other, &self.draft.add_ons);
                if add_on.excludes.contains(other) {
                    self.report(
                        &path,
                        "contradiction",
                        format!(
                            "it both requires and excludes `{other}`, so it could never be in force"
                        ),
                    );
                }
            }
            for other in &add_on.excludes {
                self.known(&format!("{path}.excludes"), "add-on", other, &self.draft.add_ons);
                if other == key {
                    self.report(
                        &format!("{path}.excludes"),
                        "excludes_itself",
                        "it excludes itself, so it could never be in force".into(),
                    );
                }
            }
            if add_on.max_quantity == Some(0) {
                self.report(
                    &format!("{path}.max_quantity"),
                    "no_quantity",
                    "with 0 nobody could have it; use 1 or more, or leave it out".into(),
                );
            }
        }
        let requires = |key: &crate::AddOnKey| {
            self.draft.add_ons.get(key).into_iter().flat_map(|a| &a.requires).collect()
        };
        let circle = circle(self.draft.add_ons.keys(), requires);
        self.no_circle("add_ons", "requires", circle);
    }

    fn promotions(&mut self) {
        for (key, promotion) in &self.draft.promotions {
            let path = format!("promotions.{key}");
            self.contents(&path, &promotion.bundles, &promotion.grants);
            self.audience(&format!("{path}.audience"), &promotion.audience);
            self.window(&format!("{path}.window"), &promotion.window);
            if promotion.enrolment == (Enrolment::ByRequest { cap: Some(0) }) {
                self.report(
                    &format!("{path}.enrolment"),
                    "no_quantity",
                    "with a cap of 0 nobody could enrol; use 1 or more, or leave it out".into(),
                );
            }
            if promotion.priority != 0 && promotion.exclusive_group.is_none() {
                self.report(
                    &format!("{path}.priority"),
                    "idle_priority",
                    "a priority counts only inside an `exclusive_group`; name one or leave it out"
                        .into(),
                );
            }
        }
    }

    fn segments(&mut self) {
        for (key, segment) in &self.draft.segments {
            if let Some(audience) = &segment.audience {
                self.audience(&format!("segments.{key}.audience"), audience);
            }
        }
        let mentions = |key: &crate::SegmentKey| {
            let mut found = Vec::new();
            if let Some(audience) = self.draft.segments.get(key).and_then(|s| s.audience.as_ref()) {
                segments_in(audience, &mut found);
            }
            found
        };
        let circle = circle(self.draft.segments.keys(), mentions);
        self.no_circle("segments", "audience", circle);
    }

    fn regions(&mut self) {
        for (key, region) in &self.draft.regions {
            if region.countries.is_empty() {
                self.report(
                    &format!("regions.{key}.countries"),
                    "no_countries",
                    "a region needs at least one country".into(),
                );
            }
        }
    }

    fn contents(&mut self, path: &str, bundles: &BTreeSet<crate::BundleKey>, grants: &Grants) {
        for bundle in bundles {
            self.known(&format!("{path}.bundles"), "bundle", bundle, &self.draft.bundles);
        }
        for grant in grants {
            let path = format!("{path}.grants.{}", grant.feature);
            self.amount(&path, &grant.feature, &grant.amount);
            self.audience(&format!("{path}.only"), &grant.only);
        }
    }

    fn amount(&mut self, path: &str, feature: &FeatureKey, amount: &Amount) {
        let Some(known) = self.draft.features.get(feature) else {
            return self.report(
                path,
                "unknown_feature",
                format!("there is no feature `{feature}`"),
            );
        };
        match (&known.kind, amount) {
            (FeatureKind::Switch, Amount::On)
            | (FeatureKind::Limit { .. }, Amount::Set(_) | Amount::Add(_)) => {}
            (FeatureKind::Level { levels }, Amount::Level(level)) => {
                if !levels.contains(level) {
                    let names: Vec<_> = levels.iter().map(|level| format!("`{level}`")).collect();
                    self.report(
                        path,
                        "unknown_level",
                        format!(
                            "`{feature}` has no level `{level}`; use one of {}",
                            names.join(", ")
                        ),
                    );
                }
            }
            (FeatureKind::Config { schema }, Amount::Config(value)) => {
                if !value.is_object() {
                    self.report(
                        path,
                        "bad_config",
                        format!("the value of `{feature}` must be an object"),
                    );
                } else if let Err(why) = json_schema::validate(schema, value) {
                    self.report(
                        path,
                        "bad_config",
                        format!("the value does not satisfy the schema of `{feature}`: {why}"),
                    );
                }
            }
            (kind, _) => {
                let expected = match kind {
                    FeatureKind::Switch => "is a switch; write `true`",
                    FeatureKind::Limit { .. } => {
                        "is a limit; write a whole number, `\"unlimited\"` or `\"+5\"`"
                    }
                    FeatureKind::Level { .. } => "is a level; write one of its names",
                    FeatureKind::Config { .. } => "is a config; write a table",
                };
                self.report(
                    path,
                    "wrong_kind",
                    format!("`{amount}` does not fit: `{feature}` {expected}"),
                );
            }
        }
    }

    fn audience(&mut self, path: &str, audience: &Audience) {
        audience.walk(path, &mut |path, audience| {
            self.audiences += 1;
            for plan in &audience.plan {
                self.known(&format!("{path}.plan"), "plan", plan, &self.draft.plans);
            }
            for region in &audience.region {
                self.known(&format!("{path}.region"), "region", region, &self.draft.regions);
            }
            for segment in &audience.segment {
                self.known(&format!("{path}.segment"), "segment", segment, &self.draft.segments);
            }
            if let Some(age) = audience.age {
                let path = format!("{path}.age");
                match (age.days_min, age.days_below) {
                    (None, None) => self.report(
                        &path,
                        "empty_age",
                        "give `days_min`, `days_below` or both".into(),
                    ),
                    (min, Some(below)) if min.unwrap_or(0) >= below => {
                        self.report(
                            &path,
                            "empty_age",
                            format!(
                                "no age is at least {} and below {below} days",
                                min.unwrap_or(0)
                            ),
                        );
                    }
                    _ => {}
                }
            }
        });
    }

    fn window(&mut self, path: &str, window: &Window) {
        if window.is_empty() {
            self.report(
                path,
                "empty_window",
                format!("`{window}` contains no instant; a window must end after it starts"),
            );
        }
    }

    fn tenant(&mut self, tenant: &Tenant) {
        let lists = [
            ("segments", tenant.segments.len()),
            ("integrations", tenant.integrations.len()),
            ("attributes", tenant.attributes.len()),
            ("subscriptions", tenant.subscriptions.len()),
            ("add_ons", tenant.add_ons.len()),
            ("enrolments", tenant.enrolments.len()),
            ("overrides", tenant.overrides.len()),
            ("blocks", tenant.blocks.len()),
        ];
        for (list, count) in lists {
            self.at_most(list, count, TENANT_ENTRIES_MAX);
        }
        for (index, subscription) in tenant.subscriptions.iter().enumerate() {
            let path = format!("subscriptions[{index}]");
            self.known(&format!("{path}.plan"), "plan", &subscription.plan, &self.draft.plans);
            self.window(&format!("{path}.window"), &subscription.window);
        }
        for segment in &tenant.segments {
            self.known("segments", "segment", segment, &self.draft.segments);
        }
        self.tenant_add_ons(tenant);
        for (index, enrolment) in tenant.enrolments.iter().enumerate() {
            let path = format!("enrolments[{index}]");
            self.known(
                &format!("{path}.promotion"),
                "promotion",
                &enrolment.promotion,
                &self.draft.promotions,
            );
            self.window(&format!("{path}.window"), &enrolment.window);
        }
        self.tenant_overrides(tenant);
        for (index, block) in tenant.blocks.iter().enumerate() {
            let path = format!("blocks[{index}]");
            for feature in &block.features {
                self.known(&format!("{path}.features"), "feature", feature, &self.draft.features);
            }
            for module in &block.modules {
                self.known(&format!("{path}.modules"), "module", module, &self.draft.modules);
            }
            self.window(&format!("{path}.window"), &block.window);
        }
    }

    fn tenant_add_ons(&mut self, tenant: &Tenant) {
        for (index, entry) in tenant.add_ons.iter().enumerate() {
            let path = format!("add_ons[{index}]");
            self.known(&format!("{path}.add_on"), "add-on", &entry.add_on, &self.draft.add_ons);
            self.window(&format!("{path}.window"), &entry.window);
            let max = self.draft.add_ons.get(&entry.add_on).and_then(|a| a.max_quantity);
            if entry.quantity == 0 {
                self.report(
                    &format!("{path}.quantity"),
                    "no_quantity",
                    "a quantity is at least 1; leave the entry out for none".into(),
                );
            } else if let Some(max) = max.filter(|max| entry.quantity > *max) {
                self.report(
                    &format!("{path}.quantity"),
                    "too_many",
                    format!(
                        "{} is more than the {max} that `{}` allows",
                        entry.quantity, entry.add_on
                    ),
                );
            }
            let twin = tenant.add_ons.iter().take(index).find(|earlier| {
                earlier.add_on == entry.add_on && earlier.window.overlaps(&entry.window)
            });
            if twin.is_some() {
                self.report(
                    &path,
                    "overlap",
                    format!(
                        "another entry for `{}` overlaps this one; use one entry with a quantity",
                        entry.add_on
                    ),
                );
            }
        }
    }

    fn tenant_overrides(&mut self, tenant: &Tenant) {
        for (index, entry) in tenant.overrides.iter().enumerate() {
            let path = format!("overrides[{index}]");
            match &entry.amount {
                Some(Amount::Add(_)) => self.report(
                    &format!("{path}.amount"),
                    "wrong_kind",
                    "an override replaces what the rules find; write the whole amount".into(),
                ),
                Some(amount) => self.amount(&format!("{path}.amount"), &entry.feature, amount),
                None => self.known(
                    &format!("{path}.feature"),
                    "feature",
                    &entry.feature,
                    &self.draft.features,
                ),
            }
            if entry.force && entry.amount.is_none() {
                self.report(
                    &format!("{path}.force"),
                    "idle_force",
                    "a denial needs no force; leave it out, or give an amount".into(),
                );
            }
            self.window(&format!("{path}.window"), &entry.window);
            let twin = tenant.overrides.iter().take(index).find(|earlier| {
                earlier.feature == entry.feature && earlier.window.overlaps(&entry.window)
            });
            if let Some(twin) = twin {
                self.report(
                    &path,
                    "overlap",
                    format!(
                        "it overlaps the override of `{}` in `{}`; end one before the other starts",
                        entry.feature, twin.window
                    ),
                );
            }
        }
    }

    fn known<K: Ord + Display, V>(
        &mut self,
        path: &str,
        kind: &str,
        key: &K,
        all: &BTreeMap<K, V>,
    ) {
        if !all.contains_key(key) {
            let code = match kind {
                "feature" => "unknown_feature",
                "module" => "unknown_module",
                "bundle" => "unknown_bundle",
                "plan" => "unknown_plan",
                "add-on" => "unknown_add_on",
                "promotion" => "unknown_promotion",
                "segment" => "unknown_segment",
                _ => "unknown_region",
            };
            self.report(path, code, format!("there is no {kind} `{key}`"));
        }
    }

    fn no_circle(&mut self, table: &str, field: &str, chain: Chain) {
        match chain {
            Chain::Fine => {}
            Chain::Circle(names) => {
                let first = names.first().cloned().unwrap_or_default();
                let round = names.join("` -> `");
                self.report(
                    &format!("{table}.{first}.{field}"),
                    "circle",
                    format!(
                        "it leads back to itself: `{round}` -> `{first}`; take one of these out"
                    ),
                );
            }
            Chain::TooDeep(name) => {
                self.report(
                    &format!("{table}.{name}.{field}"),
                    "too_deep",
                    format!("it goes down more than {DEPTH_MAX} steps; make the chain shorter"),
                );
            }
        }
    }

    fn report(&mut self, path: &str, code: &'static str, message: String) {
        self.problems.push(Problem::new(path, code, message));
    }
}

fn segments_in<'a>(audience: &'a Audience, found: &mut Vec<&'a crate::SegmentKey>) {
    found.extend(&audience.segment);
    let inner = audience.all.iter().chain(&audience.any).chain(audience.not.as_deref());
    inner.for_each(|inner| segments_in(inner, found));
}

/// How a chain of names goes on.
enum Chain {
    Fine,
    /// The names on it, from the one that closes it.
    Circle(Vec<String>),
    TooDeep(String),
}

/// Follows every chain and finds the first that is a circle or too deep.
fn circle<'k, K>(all: impl Iterator<Item = &'k K>, next: impl Fn(&K) -> Vec<&'k K>) -> Chain
where
    K: Ord + Display + 'k,
{
    let mut depths: BTreeMap<&K, usize> = BTreeMap::new();
    for start in all {
        // Depth first without recursion: a long chain must not exhaust the stack.
        let mut path: Vec<(&K, Vec<&K>)> = vec![(start, next(start))];
        while let Some((node, rest)) = path.last_mut() {
            let node = *node;
            match rest.pop() {
                None => {
                    let below = next(node).into_iter().filter_map(|child| depths.get(child)).max();
                    let depth = below.map_or(0, |depth| depth + 1);
                    if depth > DEPTH_MAX {
                        return Chain::TooDeep(node.to_string());
                    }
                    depths.insert(node, depth);
                    path.pop();
                }
                Some(child) if depths.contains_key(child) => {}
                Some(child) => {
                    if let Some(begin) = path.iter().position(|(node, _)| *node == child) {
                        let names = path.iter().skip(begin).map(|(node, _)| node.to_string());
                        return Chain::Circle(names.collect());
                    }
                    path.push((child, next(child)));
                }
            }
        }
    }
    Chain::Fine
}

#[cfg(feature = "json-schema")]
mod json_schema {
    use crate::Json;

    pub(super) fn compile(schema: &Json) -> Result<jsonschema::Validator, String> {
        jsonschema::validator_for(&schema.to_value()).map_err(|error| error.to_string())
    }

    pub(super) fn validate(schema: &Json, value: &Json) -> Result<(), String> {
        // A schema that does not compile is reported where it stands, once.
        let Ok(validator) = compile(schema) else { return Ok(()) };
        let value = value.to_value();
        let problems: Vec<_> = validator
            .iter_errors(&value)
            .map(|error| match error.instance_path().as_str() {
                "" => error.to_string(),
                path => format!("`{path}`: {error}"),
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }
}

#[cfg(not(feature = "json-schema"))]
mod json_schema {
    use crate::Json;

    pub(super) fn compile(_: &Json) -> Result<(), String> {
        Ok(())
    }

    pub(super) fn validate(_: &Json, _: &Json) -> Result<(), String> {
        Ok(())
    }
}
