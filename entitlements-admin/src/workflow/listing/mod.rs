//! What tenants may ask for: a listing of the marketplace, and how it comes to be shown.

mod stage;

use std::collections::{BTreeMap, BTreeSet};

use entitlements_core::{
    AddOnKey, Audience, Draft, IntegrationKey, PlanKey, PromotionKey, document::Hash,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::stage::{ListingAct, ListingRefusal, ListingStage, step};
use super::{approval::ApprovalPolicy, connector::line, provisioning::StepPlan};

/// What a tenant gets by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Offer {
    /// An add-on, so many times.
    AddOn(AddOnKey),
    /// Several add-ons together.
    AddOns(BTreeSet<AddOnKey>),
    /// To be enrolled in a promotion.
    Promotion(PromotionKey),
    /// Another plan instead of those that it has.
    Plan(PlanKey),
}

/// How often something is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Once.
    Once,
    /// Each month.
    Month,
    /// Each year.
    Year,
}

/// What it costs, as far as approvals go by that. Invoices are made elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// How much of one, in the smallest unit of the currency.
    pub amount: u64,
    /// Which, such as `EUR`.
    pub currency: String,
    /// How often.
    pub per: Per,
}

/// What is shown of it and what becomes of a request for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    /// What it is called.
    pub title: String,
    /// What it is for, for tenants.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The partner whose it is; one's own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// Under what it is found.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub category: String,
    /// What whoever asks for it agrees to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub terms: String,
    /// What is said of its price.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub price_note: String,
    /// What it costs, where approvals go by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Where its pictures are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// What a tenant gets by it.
    pub offer: Offer,
    /// Who may ask for it; everybody who may have it where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eligibility: Option<Audience>,
    /// What must be connected before it can be asked for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub integrations: BTreeSet<IntegrationKey>,
    /// The JSON Schema of what is asked of whoever asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
    /// Who has to agree.
    #[serde(default)]
    pub approval: ApprovalPolicy,
    /// What is done before it is in force, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provisioning: Vec<StepPlan>,
    /// Under which promise of how long it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sla: Option<String>,
    /// Who looks after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
}

/// The longest text, in bytes.
const TEXT_BYTES_MAX: usize = 20_000;
/// The most pictures.
const IMAGES_MAX: usize = 20;
/// The most steps.
const STEPS_MAX: usize = 20;
/// The longest schema of parameters, in bytes.
const SCHEMA_BYTES_MAX: usize = 64 * 1_024;

/// What else there is that a listing may name.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The members of each team.
    pub teams: BTreeMap<String, BTreeSet<String>>,
    /// The promises.
    pub slas: BTreeSet<String>,
    /// The connectors, each with the word for its kind.
    pub connectors: BTreeMap<String, &'static str>,
}

impl Known {
    /// Goes on where there is such a connector.
    ///
    /// # Errors
    /// Where there is none, or it is of another kind.
    pub fn has_connector(&self, path: &str, key: &str, kind: &str) -> Result<(), String> {
        match self.connectors.get(key) {
            None => Err(format!("`{path}`: there is no connector `{key}`")),
            Some(found) if *found != kind => Err(format!(
                "`{path}`: connector `{key}` is of the kind `{found}`: name one of the kind `{kind}`"
            )),
            Some(_) => Ok(()),
        }
    }
}

impl Listing {
    /// What tells it from any other content.
    #[must_use]
    pub fn digest(&self) -> Hash {
        // A listing is plain data, which always has a JSON form.
        Hash::of(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// What so many of it cost, in the smallest unit of the currency.
    #[must_use]
    pub fn amount(&self, quantity: u32) -> u64 {
        let one = self.price.as_ref().map_or(0, |price| price.amount);
        one.saturating_mul(u64::from(quantity))
    }

    /// What is wrong with it first.
    ///
    /// # Errors
    /// Where something is.
    pub fn check(&self, catalog: &Draft, known: &Known) -> Result<(), String> {
        line("title", &self.title)?;
        for (path, text) in [
            ("description", &self.description),
            ("terms", &self.terms),
            ("price_note", &self.price_note),
        ] {
            if text.len() > TEXT_BYTES_MAX {
                return Err(format!("`{path}` takes {TEXT_BYTES_MAX} bytes at the most"));
            }
        }
        if !self.category.is_empty() {
            line("category", &self.category)?;
        }
        if let Some(partner) = &self.partner {
            line("partner", partner)?;
        }
        self.check_images()?;
        self.check_price()?;
        self.check_offer(catalog)?;
        self.check_parameters()?;
        self.approval.check(&known.teams)?;
        if self.provisioning.len() > STEPS_MAX {
            return Err(format!("`provisioning` takes {STEPS_MAX} steps at the most"));
        }
        let mut names = BTreeSet::new();
        for (number, step) in self.provisioning.iter().enumerate() {
            step.check(&format!("provisioning.{number}"), known)?;
            if !names.insert(&step.key) {
                return Err(format!("`provisioning.{number}.key`: `{}` is there twice", step.key));
            }
        }
        if let Some(sla) = self.sla.as_ref().filter(|key| !known.slas.contains(*key)) {
            return Err(format!("`sla`: there is no `{sla}`"));
        }
        match self.team.as_ref().filter(|key| !known.teams.contains_key(*key)) {
            Some(team) => Err(format!("`team`: there is no team `{team}`")),
            None => Ok(()),
        }
    }

    fn check_images(&self) -> Result<(), String> {
        let fits = |image: &String| image.starts_with("https://") && image.len() <= 2_000;
        match self.images.len() <= IMAGES_MAX && self.images.iter().all(fits) {
            true => Ok(()),
            false => Err(format!(
                "`images` takes {IMAGES_MAX} addresses at the most, each beginning with `https://`"
            )),
        }
    }

    fn check_price(&self) -> Result<(), String> {
        let Some(price) = &self.price else { return Ok(()) };
        let letters = price.currency.bytes().all(|letter| letter.is_ascii_uppercase());
        match price.currency.len() == 3 && letters {
            true => Ok(()),
            false => Err(format!(
                "`price.currency = {}` is no currency: write it as `EUR`",
                price.currency
            )),
        }
    }

    fn check_offer(&self, catalog: &Draft) -> Result<(), String> {
        let add_on = |key: &AddOnKey| match catalog.add_ons.contains_key(key) {
            true => Ok(()),
            false => Err(format!("`offer`: the catalog has no add-on `{key}`")),
        };
        match &self.offer {
            Offer::AddOn(key) => add_on(key),
            Offer::AddOns(keys) if keys.len() < 2 => {
                Err("`offer.add_ons` takes at least two: one is an `add_on`".into())
            }
            Offer::AddOns(keys) => keys.iter().try_for_each(add_on),
            Offer::Promotion(key) => match catalog.promotions.get(key) {
                None => Err(format!("`offer`: the catalog has no promotion `{key}`")),
                Some(promotion) if promotion.enrolment.is_automatic() => Err(format!(
                    "`offer`: promotion `{key}` needs no enrolment: whoever it is for has it"
                )),
                Some(_) => Ok(()),
            },
            Offer::Plan(key) => match catalog.plans.contains_key(key) {
                true => Ok(()),
                false => Err(format!("`offer`: the catalog has no plan `{key}`")),
            },
        }
    }

    fn check_parameters(&self) -> Result<(), String> {
        let Some(schema) = &self.parameters else { return Ok(()) };
        if schema.to_string().len() > SCHEMA_BYTES_MAX {
            return Err(format!("`parameters` takes {SCHEMA_BYTES_MAX} bytes at the most"));
        }
        jsonschema::validator_for(schema)
            .map(drop)
            .map_err(|error| format!("`parameters` is no JSON Schema: {error}"))
    }

    /// What is wrong with the parameters of a request, each with its path.
    #[must_use]
    pub fn parameter_problems(&self, parameters: &Value) -> Vec<String> {
        let Some(schema) = &self.parameters else {
            let is_empty = parameters.as_object().is_some_and(serde_json::Map::is_empty);
            return match parameters.is_null() || is_empty {
                true => Vec::new(),
                false => vec!["`parameters`: the listing asks for none".into()],
            };
        };
        let Ok(validator) = jsonschema::validator_for(schema) else {
            return vec!["`parameters`: the listing's schema cannot be read".into()];
        };
        let empty = Value::Object(serde_json::Map::new());
        let given = if parameters.is_null() { &empty } else { parameters };
        let problems = validator.iter_errors(given);
        problems.map(|error| format!("`parameters{}`: {error}", error.instance_path())).collect()
    }
}
