//! A live control plane, as the commands see it: each function is one request of its API.

use std::{fmt, fs, time::Duration};

use entitlements_admin::{app::Preview, config, workflow::draft::Changes};
use entitlements_core::{Draft, Problem, document::Hash};
use entitlements_outbound::{ClientConfig, HttpClient};
use hyper::{HeaderMap, Method, Request, Uri, body::Bytes, header};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::runtime::Runtime;

use crate::cli::{Failure, KeyFile};

/// How long an answer may take. An effect on very many tenants takes a while.
const PATIENCE: Duration = Duration::from_secs(120);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A live control plane.
#[derive(Debug)]
pub(super) struct Remote {
    runtime: Runtime,
    client: HttpClient,
    /// Its address, without a slash at the end.
    url: String,
    key: String,
}

/// The catalog that is live.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) environment: String,
    /// The commit that it came with; 0 where there never was one.
    pub(super) revision: u64,
    pub(super) catalog: Draft,
    pub(super) hash: Hash,
}

/// What a control plane says to a catalog.
#[derive(Debug, Deserialize)]
pub(super) struct Verdict {
    pub(super) revision: u64,
    pub(super) changes: Changes,
    #[serde(default)]
    pub(super) problems: Vec<Problem>,
    #[serde(default)]
    pub(super) needs_approval: bool,
    #[serde(default)]
    pub(super) impact: Option<Preview>,
}

/// What became of a catalog that was sent.
#[derive(Debug)]
pub(super) enum Sent {
    /// It is in force since this revision.
    Done(u64),
    /// Somebody else has to look at it first.
    NeedsApproval,
}

/// A draft in the list of drafts.
#[derive(Debug, Deserialize)]
pub(super) struct ListedDraft {
    pub(super) id: String,
    pub(super) revision: u64,
    pub(super) name: String,
    pub(super) stage: String,
}

#[derive(Deserialize)]
struct Drafts {
    drafts: Vec<ListedDraft>,
}

/// What a control plane answers to a change.
#[derive(Deserialize)]
struct Committed {
    revision: u64,
    #[serde(default)]
    id: String,
    #[serde(default)]
    warnings: Vec<Problem>,
}

impl Remote {
    /// Whether a text is the address of a control plane, and not a path.
    pub(super) fn is_url(text: &str) -> bool {
        text.contains("://")
    }

    /// Takes the address and the key. It connects when it is asked something.
    pub(super) fn new(url: &str, file: &KeyFile) -> Result<Self, Failure> {
        let wrong = |why: &str| Failure::Usage(format!("`{url}` is no address: {why}"));
        let uri: Uri =
            url.parse().map_err(|_| wrong("write one such as `http://127.0.0.1:7400`"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(wrong("it begins with `https://`, or `http://` on this machine"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("leave out what comes after the port"));
        }
        let client = HttpClient::new(ClientConfig {
            exchange_time_max: PATIENCE,
            body_bytes_max: ANSWER_BYTES_MAX,
            ..ClientConfig::default()
        });
        let client = client.map_err(Failure::failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::failed)?;
        let url = url.trim_end_matches('/').into();
        Ok(Self { runtime, client, url, key: key(file)? })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The catalog in force.
    pub(super) fn live(&self) -> Result<Live, Failure> {
        let answer = self.get("/v1/catalog")?.ok()?;
        let catalog: Draft = answer.json()?;
        Ok(Live {
            environment: answer.header("entitlements-environment").unwrap_or("default").into(),
            revision: answer.revision().ok_or_else(|| strange("it names no revision"))?,
            hash: catalog.content_hash().map_err(Failure::failed)?,
            catalog,
        })
    }

    /// The catalog that was in force after a commit; `None` where that is no longer known.
    pub(super) fn past(&self, revision: u64) -> Result<Option<Draft>, Failure> {
        let answer = self.get(&format!("/v1/catalog?revision={revision}"))?;
        if answer.status / 100 == 4 {
            return Ok(None);
        }
        answer.ok()?.json().map(Some)
    }

    /// What a catalog would change.
    pub(super) fn plan(&self, catalog: &Draft) -> Result<Verdict, Failure> {
        self.send(Method::POST, "/v1/catalog/plan", &[], &json(catalog)?)?.ok()?.json()
    }

    /// Makes a catalog the one in force, if the one it replaces is of this revision.
    pub(super) fn put_catalog(&self, catalog: &Draft, over: u64) -> Result<Sent, Failure> {
        let body = json(catalog)?;
        // The same change over the same catalog is one change, however often it is sent.
        let key = format!("apply-{over}-{}", Hash::of(&body));
        let tag = format!("\"{over}\"");
        let expected = if over == 0 { ("if-none-match", "*") } else { ("if-match", &*tag) };
        let headers = [expected, ("idempotency-key", &key)];
        let answer = self.send(Method::PUT, "/v1/catalog", &headers, &body)?;
        if answer.is_problem("approval_required") {
            return Ok(Sent::NeedsApproval);
        }
        let committed: Committed = answer.ok()?.json()?;
        for warning in &committed.warnings {
            eprintln!("warning: {warning}");
        }
        Ok(Sent::Done(committed.revision))
    }

    /// The drafts of a name that may still become the catalog.
    pub(super) fn open_drafts(&self, name: &str) -> Result<Vec<ListedDraft>, Failure> {
        let path = "/v1/drafts?stage=draft,in_review,approved,scheduled";
        let Drafts { mut drafts } = self.get(path)?.ok()?.json()?;
        drafts.retain(|draft| draft.name == name);
        Ok(drafts)
    }

    /// The catalog that a draft leads to.
    pub(super) fn draft_catalog(&self, id: &str) -> Result<Draft, Failure> {
        self.get(&format!("/v1/drafts/{id}/catalog"))?.ok()?.json()
    }

    /// Makes a draft that leads to a catalog.
    pub(super) fn create_draft(&self, name: &str, catalog: &Draft) -> Result<ListedDraft, Failure> {
        let body = json(&serde_json::json!({ "name": name, "catalog": catalog }))?;
        let made: Committed = self.send(Method::POST, "/v1/drafts", &[], &body)?.ok()?.json()?;
        let (name, stage) = (name.into(), "draft".into());
        Ok(ListedDraft { id: made.id, revision: made.revision, name, stage })
    }

    /// Makes a draft lead to another catalog. Gives its new revision.
    pub(super) fn edit_draft(&self, draft: &ListedDraft, catalog: &Draft) -> Result<u64, Failure> {
        let body = json(&serde_json::json!({ "catalog": catalog }))?;
        let (path, tag) = (format!("/v1/drafts/{}", draft.id), format!("\"{}\"", draft.revision));
        let answer = self.send(Method::PATCH, &path, &[("if-match", &tag)], &body)?;
        answer.ok()?.json().map(|committed: Committed| committed.revision)
    }

    /// Asks others to look at a draft.
    pub(super) fn submit_draft(&self, id: &str, revision: u64) -> Result<(), Failure> {
        let (path, tag) = (format!("/v1/drafts/{id}/submit"), format!("\"{revision}\""));
        self.send(Method::POST, &path, &[("if-match", &tag)], b"")?.ok().map(drop)
    }

    fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.send(Method::GET, path, &[], b"")
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key));
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Bytes::copy_from_slice(body)).map_err(Failure::failed)?;
        let answered = self.runtime.block_on(self.client.send(request));
        let (parts, body) = answered.map_err(|error| Self::unreachable(&error))?.into_parts();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    fn unreachable(why: &impl fmt::Display) -> Failure {
        Failure::failed(format!("{why}; does `serve` run there?"))
    }
}

/// What a control plane answered.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

/// An error as it is sent.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ProblemText {
    r#type: String,
    detail: String,
    problems: Vec<Problem>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The revision in its `ETag`.
    fn revision(&self) -> Option<u64> {
        self.header("etag")?.trim_matches('"').parse().ok()
    }

    fn problem(&self) -> ProblemText {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn is_problem(&self, word: &str) -> bool {
        self.status / 100 != 2 && self.problem().r#type == format!("/problems/{word}")
    }

    /// Goes on where it did what it was asked.
    fn ok(self) -> Result<Self, Failure> {
        if self.status / 100 == 2 {
            return Ok(self);
        }
        let ProblemText { detail, problems, .. } = self.problem();
        let lines: String = problems
            .iter()
            .filter(|problem| !problem.path.is_empty())
            .map(|problem| format!("\n  {problem}"))
            .collect();
        let detail = if detail.is_empty() { "it says no more" } else { &detail };
        Err(Failure::failed(format!(
            "the control plane refused ({}): {detail}{lines}",
            self.status
        )))
    }

    fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(strange)
    }
}

fn strange(why: impl fmt::Display) -> Failure {
    Failure::failed(format!(
        "what answered there is no control plane that this version knows: {why}"
    ))
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(Failure::failed)
}

/// The service key, from its file or from the environment.
fn key(file: &KeyFile) -> Result<String, Failure> {
    let text = match &file.key_file {
        Some(path) => fs::read_to_string(path)
            .map_err(|error| Failure::failed(format!("`{}`: {error}", path.display())))?,
        None => config::key().ok_or_else(|| {
            Failure::Usage(
                "a service key is needed: give `--key-file FILE`, or set `ENTITLEMENTS_KEY`".into(),
            )
        })?,
    };
    let key = text.trim();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::Usage(
            "the service key is no single word: it starts with `ent_`".into(),
        ));
    }
    Ok(key.into())
}
