//! What handlers take from a request, with our own problems where it is not there.

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::{HeaderMap, header, request::Parts},
};
use entitlements_core::{Revision, TenantKey, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};

use super::problem::{Code, Problem};
use crate::app::{App, AsOf, Expected};

/// The parameters in the path.
pub(super) struct Segments<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(value) =
            Path::from_request_parts(parts, state).await.map_err(|error| wrong("path", &error))?;
        Ok(Self(value))
    }
}

/// The parameters after the question mark.
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Query(value) =
            Query::try_from_uri(&parts.uri).map_err(|error| wrong("query", &error))?;
        Ok(Self(value))
    }
}

fn wrong(part: &str, error: &impl std::error::Error) -> Problem {
    let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    Problem::new(Code::InvalidRequest, format!("the {part} is wrong, see `/docs`: {why}"))
}

/// The most that a list shows at once.
const LIMIT_MAX: u32 = 200;

/// A page of a list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Page {
    /// What the page before ended with.
    pub(super) after: String,
    /// How many at most, from 1 to 200.
    #[schemars(range(min = 1, max = 200))]
    limit: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self { after: String::new(), limit: 100 }
    }
}

impl Page {
    pub(super) fn limit(&self) -> Result<u32, Problem> {
        if (1..=LIMIT_MAX).contains(&self.limit) {
            return Ok(self.limit);
        }
        let detail = format!("`limit={}` is not a page: use 1 to {LIMIT_MAX}", self.limit);
        Err(Problem::new(Code::InvalidRequest, detail))
    }
}

/// Which world to ask, and for which instant.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Instant {
    /// The instant to answer for; now where none is given, or `as_of` where that is.
    #[serde(default)]
    at: Option<String>,
    /// Answer from what was in force after this commit.
    #[serde(default)]
    revision: Option<u64>,
    /// Answer from what was in force at this instant.
    #[serde(default)]
    as_of: Option<String>,
}

impl Instant {
    pub(super) fn or_now(&self, app: &App) -> Result<Timestamp, Problem> {
        let at = self.at.as_deref().or(self.as_of.as_deref());
        Ok(instant(at)?.unwrap_or_else(|| app.now()))
    }

    pub(super) fn as_of(&self) -> Result<AsOf, Problem> {
        match (self.revision, instant(self.as_of.as_deref())?) {
            (None, None) => Ok(AsOf::Now),
            (Some(revision), None) => Ok(AsOf::Revision(Revision(revision))),
            (None, Some(at)) => Ok(AsOf::Instant(at)),
            (Some(_), Some(_)) => {
                let detail = "send `revision` or `as_of`, not both";
                Err(Problem::new(Code::InvalidRequest, detail))
            }
        }
    }
}

/// An instant in a query.
pub(super) fn instant(text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let parse = |text: &str| {
        // `+` is a space to whoever reads queries; an offset such as `+01:00` is often sent bare.
        Timestamp::parse(&text.replace(' ', "+")).map_err(|error| {
            let detail = format!("{error}; write it as `2026-03-01T00:00:00Z`");
            Problem::new(Code::InvalidRequest, detail)
        })
    };
    text.map(parse).transpose()
}

/// A tenant's key.
pub(super) fn tenant_key(text: &str) -> Result<TenantKey, Problem> {
    TenantKey::new(text).map_err(|error| Problem::new(Code::InvalidRequest, error.to_string()))
}

/// What `If-Match` and `If-None-Match` say the caller thinks it is changing.
pub(super) fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    let refuse = |what: &str| {
        let detail = format!(
            "{what}: use `If-Match: \"<revision>\"` to change what you read, `If-Match: *` for \
             anything that is there, or `If-None-Match: *` for nothing being there"
        );
        Problem::new(Code::InvalidRequest, detail)
    };
    let text = |name| match headers.get(name) {
        None => Ok(None),
        Some(value) => value.to_str().map(|text| Some(text.trim())).map_err(|_| refuse("not text")),
    };
    match (text(header::IF_MATCH)?, text(header::IF_NONE_MATCH)?) {
        (None, None) => Ok(Expected::Any),
        (Some("*"), None) => Ok(Expected::Present),
        (None, Some("*")) => Ok(Expected::Absent),
        (Some(tag), None) => tag
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            // A draft's tag also says what it was laid over.
            .and_then(|tag| tag.split('.').next()?.parse().ok())
            .map(|number| Expected::At(Revision(number)))
            .ok_or_else(|| refuse(&format!("`If-Match: {tag}` names no revision"))),
        (_, Some(_)) => Err(refuse("`If-None-Match` takes only `*` with a change")),
    }
}
