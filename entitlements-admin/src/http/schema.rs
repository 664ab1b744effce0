//! The JSON Schema of what people write.

use axum::{extract::State, http::StatusCode};
use entitlements_core::{Draft, Tenant, document};

use super::{
    extract::Segments,
    problem::{Code, Problem},
    reply::{self, Reply},
};
use crate::{app::App, workflow::notice::EventType};

/// What there is a schema of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// A catalog.
    Catalog,
    /// A tenant.
    Tenant,
    /// A file with a catalog, tenants and scenarios.
    Document,
}

impl Document {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Catalog, Self::Tenant, Self::Document];

    /// The stable word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Tenant => "tenant",
            Self::Document => "document",
        }
    }

    /// Its schema.
    #[must_use]
    pub fn schema(self) -> serde_json::Value {
        match self {
            Self::Catalog => schemars::schema_for!(Draft).to_value(),
            Self::Tenant => schemars::schema_for!(Tenant).to_value(),
            Self::Document => schemars::schema_for!(document::Document).to_value(),
        }
    }
}

impl std::str::FromStr for Document {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|document| document.name() == text);
        found.ok_or_else(|| {
            format!("there is no schema of `{text}`: use `catalog`, `tenant` or `document`")
        })
    }
}

/// One schema, for editors and clients. It holds nobody's data, so it takes no key.
pub(super) async fn get(State(app): State<App>, Segments(file): Segments<String>) -> Reply {
    let name = file.strip_suffix(".json").unwrap_or_default();
    if let Some(event_type) = EventType::of_code(name) {
        return reply::json(StatusCode::OK, app.revision(), &event_type.schema_document());
    }
    let document: Document = name.parse().map_err(|_| {
        let detail = format!(
            "there is no schema `{file}`: use `catalog.json`, `tenant.json`, `document.json`, or \
             that of a type of event, such as `promotion.started.json`"
        );
        Problem::new(Code::NotFound, detail)
    })?;
    reply::json(StatusCode::OK, app.revision(), &document.schema())
}
