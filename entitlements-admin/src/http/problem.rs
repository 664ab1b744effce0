//! Errors as RFC 9457 problems, with a stable `type` for programs and a sentence for people.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{app::Error, store::Conflict};

/// What kind of problem. Its word is the end of `type` and never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    InvalidRequest,
    InvalidBody,
    Unauthenticated,
    WrongSignIn,
    SignInFailed,
    TooManyTries,
    NoSession,
    CrossSite,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    Conflict,
    IdempotencyKeyReused,
    Refused,
    Publication,
    ApprovalRequired,
    BodyTooLarge,
    UnsupportedMediaType,
    InvalidCatalog,
    InvalidTenants,
    Unavailable,
}

impl Code {
    fn facts(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidRequest => ("invalid_request", S::BAD_REQUEST, "The request is wrong"),
            Self::InvalidBody => ("invalid_body", S::BAD_REQUEST, "The body is wrong"),
            Self::Unauthenticated => ("unauthenticated", S::UNAUTHORIZED, "Say who you are"),
            Self::WrongSignIn => ("wrong_sign_in", S::UNAUTHORIZED, "That is not right"),
            Self::SignInFailed => {
                ("sign_in_failed", S::UNAUTHORIZED, "The identity provider signed nobody in")
            }
            Self::TooManyTries => {
                ("too_many_tries", S::TOO_MANY_REQUESTS, "Too many tries were wrong")
            }
            Self::NoSession => ("no_session", S::CONFLICT, "There is no session"),
            Self::CrossSite => ("cross_site", S::FORBIDDEN, "It may come from another site"),
            Self::Forbidden => ("forbidden", S::FORBIDDEN, "You may not do this"),
            Self::NotFound => ("not_found", S::NOT_FOUND, "There is no such thing"),
            Self::MethodNotAllowed => {
                ("method_not_allowed", S::METHOD_NOT_ALLOWED, "The method does not fit")
            }
            Self::RequestTimeout => ("request_timeout", S::REQUEST_TIMEOUT, "It took too long"),
            Self::Conflict => ("conflict", S::CONFLICT, "It changed in the meantime"),
            Self::IdempotencyKeyReused => (
                "idempotency_key_reused",
                S::CONFLICT,
                "The name of the request was used for another one",
            ),
            Self::Refused => ("refused", S::CONFLICT, "That cannot be done as things stand"),
            Self::Publication => ("publication", S::CONFLICT, "The draft cannot go there now"),
            Self::ApprovalRequired => {
                ("approval_required", S::CONFLICT, "Somebody else has to look at it first")
            }
            Self::BodyTooLarge => ("body_too_large", S::PAYLOAD_TOO_LARGE, "The body is too large"),
            Self::UnsupportedMediaType => (
                "unsupported_media_type",
                S::UNSUPPORTED_MEDIA_TYPE,
                "The body's type is not known",
            ),
            Self::InvalidCatalog => {
                ("invalid_catalog", S::UNPROCESSABLE_ENTITY, "The catalog is wrong")
            }
            Self::InvalidTenants => {
                ("invalid_tenants", S::UNPROCESSABLE_ENTITY, "Tenants do not fit the catalog")
            }
            Self::Unavailable => ("unavailable", S::SERVICE_UNAVAILABLE, "Try again later"),
        }
    }
}

/// A problem, on its way out.
#[derive(Debug)]
pub(super) struct Problem {
    code: Code,
    detail: String,
    problems: Vec<entitlements_core::Problem>,
    conflict: Option<Box<Conflict>>,
    retry_after_s: Option<u64>,
}

/// A problem as it is sent.
#[derive(Serialize, JsonSchema)]
pub(super) struct ProblemText<'p> {
    /// A stable word for the kind of problem, such as `/problems/not_found`.
    r#type: String,
    title: &'p str,
    status: u16,
    /// What is wrong, and what to do.
    detail: &'p str,
    /// Where in the input, each with a path.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schemars(default)]
    problems: &'p [entitlements_core::Problem],
    /// What is there now, where something else was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    present: Option<Present<'p>>,
}

/// What is there now, for whoever expected something else. `value` is `null` where nothing is.
#[derive(Serialize, JsonSchema)]
struct Present<'p> {
    revision: Option<u64>,
    #[schemars(with = "serde_json::Value")]
    value: Option<&'p RawValue>,
}

impl Problem {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            problems: Vec::new(),
            conflict: None,
            retry_after_s: None,
        }
    }

    /// With where in the input each of them is.
    pub(super) fn at(mut self, problems: Vec<entitlements_core::Problem>) -> Self {
        self.problems = problems;
        self
    }

    fn body(&self) -> Result<Vec<u8>, serde_json::Error> {
        let (word, status, title) = self.code.facts();
        let present = self.conflict.as_ref().map(|conflict| match &conflict.present {
            None => Present { revision: None, value: None },
            Some(stored) => Present {
                revision: Some(stored.revision.0),
                value: serde_json::from_str(&stored.json).ok(),
            },
        });
        serde_json::to_vec(&ProblemText {
            r#type: format!("/problems/{word}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            problems: &self.problems,
            present,
        })
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (_, status, _) = self.code.facts();
        let body = self.body().unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        match self.code {
            Code::Unauthenticated => {
                let challenge = HeaderValue::from_static("Bearer realm=\"entitlements\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            Code::Unavailable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {
                if let Some(seconds) = self.retry_after_s {
                    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                }
            }
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::Unauthenticated | Error::Expired => Self::new(Code::Unauthenticated, detail),
            Error::WrongSignIn => Self::new(Code::WrongSignIn, detail),
            Error::SignInFailed(_) => Self::new(Code::SignInFailed, detail),
            Error::TooMany(wait) => Self {
                retry_after_s: Some(wait.seconds()),
                ..Self::new(Code::TooManyTries, detail)
            },
            Error::NoSession => Self::new(Code::NoSession, detail),
            Error::CrossSite(_) => Self::new(Code::CrossSite, detail),
            Error::Forbidden { .. } => Self::new(Code::Forbidden, detail),
            Error::NotFound(_) => Self::new(Code::NotFound, detail),
            Error::Conflict(conflict) => {
                Self { conflict: Some(conflict), ..Self::new(Code::Conflict, detail) }
            }
            Error::KeyReused(_) => Self::new(Code::IdempotencyKeyReused, detail),
            Error::Refused(_) => Self::new(Code::Refused, detail),
            Error::Publication(refusal) => {
                let (path, code) = (String::new(), refusal.code().into());
                let finding = entitlements_core::Problem { path, code, message: detail.clone() };
                Self::new(Code::Publication, detail).at(vec![finding])
            }
            Error::ApprovalRequired => Self::new(Code::ApprovalRequired, detail),
            Error::InvalidCatalog(problems) => Self::new(Code::InvalidCatalog, detail).at(problems),
            Error::InvalidTenants(problems) => Self::new(Code::InvalidTenants, detail).at(problems),
            Error::InvalidInput(_) => Self::new(Code::InvalidRequest, detail),
            Error::Busy => Self::new(Code::Unavailable, detail),
            Error::Unavailable(_) => {
                tracing::error!("{detail}");
                Self::new(Code::Unavailable, "it cannot be done now; the operator's log says why")
            }
        }
    }
}
