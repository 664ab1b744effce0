//! Requests in bulk: a table with a row for each.

use axum::{
    Extension,
    extract::{Request, State},
    http::StatusCode,
};
use entitlements_core::{Revision, TenantKey, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    body,
    problem::{Code, Problem},
    reply::{self, Reply},
};
use crate::{
    app::{App, Call, Command, NewRequest},
    workflow::{
        IdempotencyKey,
        request::{Asks, Wants},
    },
};

/// The most rows of a table.
const ROWS_MAX: usize = 1_000;
/// The most that a table may hold.
const BYTES_MAX: usize = 1_024 * 1_024;

/// A row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    tenant: String,
    listing: String,
    #[serde(default)]
    quantity: Option<u32>,
    /// JSON.
    #[serde(default)]
    parameters: String,
    #[serde(default)]
    start_at: String,
    #[serde(default)]
    until: String,
    #[serde(default)]
    priority: String,
    #[serde(default)]
    beneficiary: String,
    #[serde(default)]
    note: String,
}

impl TryFrom<Row> for NewRequest {
    type Error = String;
    fn try_from(row: Row) -> Result<Self, String> {
        let at = |name: &str, text: &str| match text.trim() {
            "" => Ok(None),
            text => Timestamp::parse(text).map(Some).map_err(|error| format!("`{name}`: {error}")),
        };
        let parameters = match row.parameters.trim() {
            "" => Value::Null,
            text => serde_json::from_str(text)
                .map_err(|error| format!("`parameters` is no JSON: {error}"))?,
        };
        let filled = |text: String| (!text.trim().is_empty()).then(|| text.trim().to_owned());
        Ok(Self {
            tenant: TenantKey::new(row.tenant.trim()).map_err(|error| error.to_string())?,
            listing: row.listing.trim().into(),
            asks: Asks::Order {},
            wants: Wants {
                quantity: row.quantity.unwrap_or(1),
                parameters,
                start_at: at("start_at", &row.start_at)?,
                until: at("until", &row.until)?,
            },
            priority: filled(row.priority).unwrap_or_else(|| "normal".into()),
            beneficiary: filled(row.beneficiary),
            note: row.note,
            submit: true,
        })
    }
}

/// A row that became a request.
#[derive(Serialize, JsonSchema)]
struct RowMade {
    /// The line that it stands in, from 1.
    line: u64,
    id: String,
}

/// A row that did not.
#[derive(Serialize, JsonSchema)]
struct RowRefused {
    /// The line that it stands in, from 1.
    line: u64,
    /// Why.
    why: String,
}

/// What came of a table.
#[derive(Serialize, JsonSchema)]
pub(super) struct Imported {
    revision: Revision,
    made: Vec<RowMade>,
    refused: Vec<RowRefused>,
}

/// Asks for something for each row. A row that is refused holds no other up.
pub(super) async fn import(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Reply {
    let (parts, body) = request.into_parts();
    let bytes = body::collect(&parts.headers, body, BYTES_MAX).await?;
    let (mut made, mut refused) = (Vec::new(), Vec::new());
    for (line, row) in rows(&bytes)? {
        let wanted = row.and_then(NewRequest::try_from);
        let outcome = match wanted {
            Err(why) => Err(why),
            Ok(wanted) => {
                let command = Command::CreateRequest(Box::new(wanted));
                let done = app.execute(of_line(&call, line, &bytes), command).await;
                done.map_err(|error| error.to_string())
            }
        };
        match outcome {
            Ok(outcome) => {
                made.push(RowMade { line, id: outcome.id.unwrap_or_default() });
            }
            Err(why) => refused.push(RowRefused { line, why }),
        }
    }
    let revision = app.revision();
    reply::json(StatusCode::OK, revision, &Imported { revision, made, refused })
}

/// The call for one row: where the table has a name, the row has one as well, so that the same table
/// sent again makes nothing twice.
fn of_line(call: &Call, line: u64, table: &[u8]) -> Call {
    let idempotency = call.idempotency.as_ref().map(|name| IdempotencyKey {
        key: format!("{}/{line}", name.key),
        fingerprint: blake3::hash(table).into(),
    });
    Call { idempotency, ..call.clone() }
}

type Rows = Vec<(u64, Result<Row, String>)>;

fn rows(bytes: &[u8]) -> Result<Rows, Problem> {
    let wrong = |why: String| Problem::new(Code::InvalidBody, why);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let headers = reader.headers().map_err(|error| wrong(error.to_string()))?.clone();
    for needed in ["tenant", "listing"] {
        if !headers.iter().any(|name| name == needed) {
            return Err(wrong(format!(
                "there is no column `{needed}`: the first line names the columns, such as \
                 `tenant,listing,quantity`"
            )));
        }
    }
    let (mut rows, mut place) = (Vec::new(), Place::default());
    for record in reader.records() {
        let record = record.map_err(|error| wrong(error.to_string()))?;
        let line = place.line_of(bytes, record.position().map_or(0, csv::Position::byte));
        if rows.len() == ROWS_MAX {
            return Err(wrong(format!("a table takes {ROWS_MAX} rows at the most: send several")));
        }
        rows.push((line, record.deserialize(Some(&headers)).map_err(|error| plain(&error))));
    }
    Ok(rows)
}

/// How far a table was read: a row after empty lines begins where they end.
#[derive(Default)]
struct Place {
    byte: usize,
    breaks: u64,
}

impl Place {
    /// The line of the row that begins at a byte or at the end of the empty lines there, from 1.
    fn line_of(&mut self, bytes: &[u8], byte: u64) -> u64 {
        let from = usize::try_from(byte).unwrap_or(bytes.len()).min(bytes.len());
        let rest = bytes.get(from..).unwrap_or_default();
        let empty = rest.iter().take_while(|b| matches!(b, b'\n' | b'\r')).count();
        let passed = bytes.get(self.byte..from + empty).unwrap_or_default();
        self.breaks += passed.iter().filter(|b| **b == b'\n').count() as u64;
        self.byte = from + empty;
        self.breaks + 1
    }
}

/// What is wrong with a row. Its line is told beside.
fn plain(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.kind().to_string(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_row_by_row() {
        let table = "tenant,listing,quantity,parameters\nacme,sms,2,\"{\"\"a\"\": 1}\"\n\n acme , sms ,x,\nacme,sms,,[\n";
        let rows = rows(table.as_bytes()).unwrap();
        let lines: Vec<u64> = rows.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 4, 5]);
        let mut rows = rows.into_iter().map(|(_, row)| row.and_then(NewRequest::try_from));
        let first = rows.next().unwrap().unwrap();
        assert_eq!((first.wants.quantity, first.wants.parameters["a"].as_u64()), (2, Some(1)));
        assert!(rows.next().unwrap().unwrap_err().contains("invalid digit"));
        assert!(rows.next().unwrap().unwrap_err().contains("`parameters` is no JSON"));
        for (table, said) in [
            ("tenant\nacme\n", "no column `listing`"),
            ("", "no column `tenant`"),
            ("tenant,listing\nacme\n", "found record with 1 fields"),
        ] {
            let wrong = super::rows(table.as_bytes()).unwrap_err();
            assert!(format!("{wrong:?}").contains(said), "{wrong:?}");
        }
    }
}
