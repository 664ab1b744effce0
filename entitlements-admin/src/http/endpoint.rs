//! One endpoint: how it is routed, who may use it, and what it says of itself in the `OpenAPI`
//! document.

use std::time::Duration;

use axum::{
    handler::Handler,
    http::Method,
    routing::{MethodFilter, MethodRouter, on},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::app::{Access, App};

/// The methods in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Reads.
    Get,
    /// Makes or replaces.
    Put,
    /// Makes, or does something.
    Post,
    /// Changes a part.
    Patch,
    /// Removes.
    Delete,
}

impl Verb {
    /// As HTTP has it.
    #[must_use]
    pub fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Put => Method::PUT,
            Self::Post => Method::POST,
            Self::Patch => Method::PATCH,
            Self::Delete => Method::DELETE,
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Put => MethodFilter::PUT,
            Self::Post => MethodFilter::POST,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// One route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Its method.
    pub verb: Verb,
    /// Its path, with the names of its parameters.
    pub path: &'static str,
    /// What it takes.
    pub access: Access,
    /// How long an answer may take.
    pub patience: Duration,
}

impl Route {
    /// Whether its path names a tenant.
    #[must_use]
    pub fn is_about_a_tenant(self) -> bool {
        self.path.starts_with("/v1/tenants/{key}")
    }
}

/// How long a request may take from its last header to its answer, where nothing else is said.
const PATIENCE: Duration = Duration::from_secs(15);
/// The same for what looks at every tenant, and for imports.
const PATIENCE_LARGE: Duration = Duration::from_secs(60);

/// Makes a schema.
pub(super) type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

/// What an answer or a body holds.
#[derive(Clone, Copy)]
pub(super) enum Content {
    /// JSON of this form.
    Json(MakeSchema),
    /// JSON or TOML of this form.
    Document(MakeSchema),
    /// Something else, by its media types.
    Other(&'static [&'static str]),
    /// Nothing.
    Nothing,
}

/// What an endpoint says of itself.
pub(super) struct Doc {
    pub(super) summary: &'static str,
    pub(super) query: Option<MakeSchema>,
    pub(super) body: Content,
    pub(super) status: u16,
    pub(super) answer: Content,
    /// Whether it has an `ETag` and takes `If-Match`, or `If-None-Match` to read.
    pub(super) is_versioned: bool,
}

/// An endpoint, put together step by step.
pub(super) struct Endpoint {
    pub(super) route: Route,
    pub(super) handler: MethodRouter<App>,
    pub(super) doc: Doc,
}

/// An endpoint with nothing but a summary: a sentence without its full stop.
pub(super) fn endpoint<H: Handler<T, App>, T: 'static>(
    verb: Verb,
    path: &'static str,
    access: Access,
    summary: &'static str,
    handler: H,
) -> Endpoint {
    Endpoint {
        route: Route { verb, path, access, patience: PATIENCE },
        handler: on(verb.filter(), handler),
        doc: Doc {
            summary,
            query: None,
            body: Content::Nothing,
            status: 200,
            answer: Content::Nothing,
            is_versioned: false,
        },
    }
}

impl Endpoint {
    /// It looks at every tenant, or takes a large body.
    pub(super) fn large(self) -> Self {
        self.patient(PATIENCE_LARGE)
    }

    pub(super) fn patient(mut self, patience: Duration) -> Self {
        self.route.patience = patience;
        self
    }

    pub(super) fn query<T: JsonSchema>(mut self) -> Self {
        self.doc.query = Some(T::json_schema);
        self
    }

    /// It takes JSON.
    pub(super) fn body<T: JsonSchema>(mut self) -> Self {
        self.doc.body = Content::Json(SchemaGenerator::subschema_for::<T>);
        self
    }

    /// It takes JSON or TOML.
    pub(super) fn document<T: JsonSchema>(mut self) -> Self {
        self.doc.body = Content::Document(SchemaGenerator::subschema_for::<T>);
        self
    }

    /// It takes something else than JSON.
    pub(super) fn takes(mut self, media_types: &'static [&'static str]) -> Self {
        self.doc.body = Content::Other(media_types);
        self
    }

    pub(super) fn answers<T: JsonSchema>(mut self) -> Self {
        self.doc.answer = Content::Json(SchemaGenerator::subschema_for::<T>);
        self
    }

    /// It makes something.
    pub(super) fn makes<T: JsonSchema>(mut self) -> Self {
        self.doc.status = 201;
        self.answers::<T>()
    }

    pub(super) fn answers_with(mut self, media_types: &'static [&'static str]) -> Self {
        self.doc.answer = Content::Other(media_types);
        self
    }

    /// It says that it is done, and nothing else.
    pub(super) fn answers_with_nothing(mut self) -> Self {
        self.doc.status = 204;
        self
    }

    /// It sends the browser elsewhere.
    pub(super) fn redirects(mut self) -> Self {
        self.doc.status = 303;
        self
    }

    pub(super) fn versioned(mut self) -> Self {
        self.doc.is_versioned = true;
        self
    }
}
