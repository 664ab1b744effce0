//! The `OpenAPI` 3.1 document. It is made from the table of routes and the types of the handlers, so
//! that it can neither miss a route nor tell of one that is not there.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    endpoint::{Content, Doc, Endpoint, MakeSchema, Verb},
    problem::ProblemText,
    routes,
};
use crate::app::Access;

/// The document.
#[must_use]
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for endpoint in routes::table() {
        let path = paths.entry(endpoint.route.path).or_insert_with(|| json!({}));
        let method = endpoint.route.verb.method().as_str().to_lowercase();
        path[method] = operation(&endpoint, &mut schemas);
    }
    let problem = schemas.subschema_for::<ProblemText<'_>>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Entitlements admin",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "responses": {
                "Problem": {
                    "description": "What is wrong, and what to do. `type` is stable.",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
            "securitySchemes": {
                "key": { "type": "http", "scheme": "bearer", "description": "A service key: `ent_…`" },
                "session": { "type": "apiKey", "in": "cookie", "name": "entitlements",
                             "description": "A signed-in browser. Changes take `X-CSRF-Token` too." },
            },
        },
    })
}

const ABOUT: &str = "The control plane: catalog, drafts, tenants, people and audit. Each change \
    answers with the revision that it was committed at, in the body and in \
    `Entitlements-Revision`. Each change takes an `Idempotency-Key`: the same key with the same \
    request is done once and answered the same. Errors are RFC 9457 problems.";

fn operation(endpoint: &Endpoint, schemas: &mut SchemaGenerator) -> Value {
    let Endpoint { route, doc, .. } = endpoint;
    let mut operation = json!({
        "operationId": operation_id(route.verb, route.path),
        "summary": doc.summary,
        "tags": [tag(route.path)],
        "parameters": parameters(endpoint, schemas),
        "responses": responses(doc, schemas),
    });
    if let Some(content) = content(doc.body, schemas) {
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation["security"] = match route.access {
        Access::Public => json!([]),
        Access::Anyone | Access::Needs(_) => json!([{ "key": [] }, { "session": [] }]),
    };
    if let Access::Needs(permission) = route.access {
        operation["description"] = format!("It takes {}.", permission.people()).into();
        operation["x-permission"] = permission.code().into();
    }
    operation
}

/// `GET /v1/tenants/{key}/features` is `get_v1_tenants_key_features`.
fn operation_id(verb: Verb, path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<&str> = words.collect();
    format!("{}_{}", verb.method().as_str().to_lowercase(), words.join("_"))
}

fn tag(path: &str) -> &str {
    let mut parts = path.trim_start_matches('/').split('/');
    match (parts.next(), parts.next()) {
        (Some("v1"), Some(noun)) => noun,
        (Some("sync"), _) => "sync",
        _ => "operations",
    }
}

fn parameters(endpoint: &Endpoint, schemas: &mut SchemaGenerator) -> Vec<Value> {
    let Endpoint { route, doc, .. } = endpoint;
    let names = route.path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let in_path = names.map(|name| {
        json!({ "name": name.trim_start_matches('*'), "in": "path", "required": true,
                "schema": { "type": "string", "minLength": 1 } })
    });
    let mut all: Vec<Value> = in_path.collect();
    all.extend(doc.query.into_iter().flat_map(|make| in_query(make, schemas)));
    let header = |name: &str, description: &str| {
        json!({ "name": name, "in": "header", "required": false, "description": description,
                "schema": { "type": "string" } })
    };
    match (route.verb, doc.is_versioned) {
        (Verb::Get, true) => all.push(header("If-None-Match", "The `ETag` that you have.")),
        (Verb::Get, false) => {}
        (_, is_versioned) => {
            if is_versioned {
                all.push(header("If-Match", "The `ETag` of what you change."));
            }
            if route.access != Access::Public {
                all.push(header("Idempotency-Key", "A name for the request, such as a UUID."));
                all.push(header("Entitlements-Reason", "Why, for the audit."));
            }
        }
    }
    all
}

/// A parameter for each member of an object.
fn in_query(make: MakeSchema, schemas: &mut SchemaGenerator) -> Vec<Value> {
    let schema = make(schemas).to_value();
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let members = schema["properties"].as_object().into_iter().flatten();
    let parameter = |(name, schema): (&String, &Value)| {
        json!({ "name": name, "in": "query", "required": required.contains(&name.as_str()),
                "description": schema["description"].as_str().unwrap_or_default(),
                "schema": schema })
    };
    members.map(parameter).collect()
}

fn responses(doc: &Doc, schemas: &mut SchemaGenerator) -> Value {
    let mut good = json!({
        "description": StatusCode::from_u16(doc.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Done"),
    });
    if let Some(content) = content(doc.answer, schemas) {
        good["content"] = content;
    }
    let problem = json!({ "$ref": "#/components/responses/Problem" });
    let mut all = json!({ "4XX": problem, "503": problem });
    all[doc.status.to_string()] = good;
    if doc.is_versioned {
        all["304"] = json!({ "description": "You have it already." });
    }
    all
}

fn content(content: Content, schemas: &mut SchemaGenerator) -> Option<Value> {
    match content {
        Content::Nothing => None,
        Content::Json(make) => Some(json!({ "application/json": { "schema": make(schemas) } })),
        Content::Document(make) => {
            let schema = make(schemas);
            Some(json!({
                "application/json": { "schema": schema },
                "application/toml": { "schema": { "type": "string" } },
            }))
        }
        Content::Other(media_types) => {
            let text = json!({ "schema": { "type": "string" } });
            let all = media_types.iter().map(|kind| ((*kind).to_owned(), text.clone()));
            Some(all.collect::<Map<_, _>>().into())
        }
    }
}

/// The document, as it is checked in.
pub(super) async fn get() -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, document().to_string()).into_response()
}

/// A page for people to read it.
pub(super) async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
    ];
    (headers, include_str!("openapi.html")).into_response()
}

/// The page holds its own script and style, and fetches nothing but the document.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src \
    'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
