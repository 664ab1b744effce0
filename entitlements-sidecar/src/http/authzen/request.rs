//! Requests as they are read: who, what, on what.

use serde::Deserialize;
use serde_json::{Map, Value};

/// A subject or a resource. What else it says is somebody else's.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Entity {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) properties: Map<String, Value>,
}

/// What somebody wants to do.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Action {
    pub(super) name: String,
    #[serde(default)]
    pub(super) properties: Map<String, Value>,
}

/// The four parts of a question, each of which may come from the top of a batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts {
    subject: Option<Value>,
    action: Option<Value>,
    resource: Option<Value>,
    context: Option<Value>,
}

/// A question that is whole.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) subject: Entity,
    pub(super) action: Action,
    pub(super) resource: Entity,
    /// How much is asked for, of something that has a limit.
    pub(super) quantity: Option<u64>,
}

impl Parts {
    /// From an object; what it lacks comes from `defaults`, each part as a whole.
    pub(super) fn of(object: &Map<String, Value>, defaults: &Self) -> Self {
        let part = |name: &str, default: &Option<Value>| {
            object.get(name).cloned().or_else(|| default.clone())
        };
        Self {
            subject: part("subject", &defaults.subject),
            action: part("action", &defaults.action),
            resource: part("resource", &defaults.resource),
            context: part("context", &defaults.context),
        }
    }

    pub(super) fn question(self) -> Result<Question, String> {
        Ok(Question {
            quantity: quantity(self.context.as_ref())?,
            action: self.action()?,
            subject: identified(self.subject, "subject")?,
            resource: identified(self.resource, "resource")?,
        })
    }

    /// A subject or resource of which only the type matters.
    pub(super) fn subject(&self) -> Result<Entity, String> {
        read(self.subject.clone(), "subject")
    }

    pub(super) fn resource(&self) -> Result<Entity, String> {
        read(self.resource.clone(), "resource")
    }

    pub(super) fn identified_subject(&self) -> Result<Entity, String> {
        identified(self.subject.clone(), "subject")
    }

    pub(super) fn identified_resource(&self) -> Result<Entity, String> {
        identified(self.resource.clone(), "resource")
    }

    pub(super) fn action(&self) -> Result<Action, String> {
        read(self.action.clone(), "action")
    }

    pub(super) fn has_action(&self) -> bool {
        self.action.is_some()
    }

    pub(super) fn quantity(&self) -> Result<Option<u64>, String> {
        quantity(self.context.as_ref())
    }
}

fn read<T: serde::de::DeserializeOwned>(part: Option<Value>, name: &str) -> Result<T, String> {
    let part = part.ok_or_else(|| format!("`{name}` is missing"))?;
    if !part.is_object() {
        return Err(format!("`{name}` must be an object"));
    }
    serde_json::from_value(part).map_err(|error| format!("`{name}`: {error}"))
}

fn identified(part: Option<Value>, name: &str) -> Result<Entity, String> {
    let entity: Entity = read(part, name)?;
    if entity.id.is_none() {
        return Err(format!("`{name}.id` is missing"));
    }
    Ok(entity)
}

fn quantity(context: Option<&Value>) -> Result<Option<u64>, String> {
    let Some(context) = context else { return Ok(None) };
    let Some(context) = context.as_object() else {
        return Err("`context` must be an object".into());
    };
    let Some(quantity) = context.get("quantity") else { return Ok(None) };
    let whole = quantity.as_u64().map(Some);
    whole.ok_or_else(|| format!("`context.quantity`: `{quantity}` is no whole number from 0 on"))
}
