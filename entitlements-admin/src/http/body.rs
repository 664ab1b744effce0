//! Reads a body: not more than so much, JSON or TOML, and with the path to what is wrong in it.

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, header},
};
use entitlements_core::{Problem as Finding, document::ByName};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::{
    problem::{Code, Problem},
    strict,
};

/// The most that a body may hold where nothing else is said.
pub(super) const BYTES_MAX: usize = 64 * 1024;
/// The most that an import may hold.
pub(super) const IMPORT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Toml,
}

/// Reads a value from the body of a request.
pub(super) async fn read<T: DeserializeOwned + Send + 'static>(
    request: Request,
    bytes_max: usize,
) -> Result<T, Problem> {
    let (parts, body) = request.into_parts();
    let format = format(&parts.headers)?;
    let bytes = collect(&parts.headers, body, bytes_max).await?;
    let parse = move || match format {
        Format::Json => json(&bytes),
        Format::Toml => toml(&bytes),
    };
    // A large document takes milliseconds to read: not on the threads that serve others.
    tokio::task::spawn_blocking(parse)
        .await
        .map_err(|error| Problem::new(Code::Unavailable, error.to_string()))?
}

fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    let refuse = |what: &str| {
        let detail =
            format!("{what}: send `application/json` or `application/toml`, not compressed");
        Problem::new(Code::UnsupportedMediaType, detail)
    };
    if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(refuse("the body is compressed"));
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Format::Json) };
    let text = value.to_str().unwrap_or_default();
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/json" => Ok(Format::Json),
        "application/toml" | "text/toml" => Ok(Format::Toml),
        _ => Err(refuse(&format!("`Content-Type: {text}` is not known here"))),
    }
}

/// All of a body, where it is not larger than that.
pub(super) async fn collect(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("send at most {bytes_max} bytes here, or less at a time");
        Problem::new(Code::BodyTooLarge, detail)
    };
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length.and_then(|text| text.parse::<u64>().ok()).is_some_and(|n| n > bytes_max as u64) {
        return Err(too_large());
    }
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(Problem::new(Code::InvalidBody, format!("the body broke off: {error}"))),
    }
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    strict::check(bytes).map_err(|(path, error)| wrong(&path, &error.to_string()))?;
    // The most common mistake, in plain words. Further in the reader says it.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(wrong("", "expected an object: `{…}`"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(ByName(&mut json))
        .map_err(|error| wrong(&error.path().to_string(), &error.inner().to_string()))
}

fn toml<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| wrong(".", &error.to_string()))?;
    let located = |error: &toml::de::Error| {
        let start = error.span().map(|span| span.start);
        let line = start.map(|start| text[..start.min(text.len())].matches('\n').count() + 1);
        let place = line.map(|line| format!(" at line {line}")).unwrap_or_default();
        format!("{}{place}", error.message())
    };
    let toml = toml::Deserializer::parse(text).map_err(|error| wrong(".", &located(&error)))?;
    serde_path_to_error::deserialize(ByName(toml))
        .map_err(|error| wrong(&error.path().to_string(), &located(error.inner())))
}

fn wrong(path: &str, message: &str) -> Problem {
    let path = if path == "." { "" } else { path };
    let place = if path.is_empty() { String::new() } else { format!("`{path}`: ") };
    let finding =
        Finding { path: path.into(), code: "invalid_body".into(), message: message.into() };
    Problem::new(Code::InvalidBody, format!("{place}{message}")).at(vec![finding])
}
