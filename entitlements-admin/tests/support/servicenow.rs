//! A `ServiceNow` that keeps records, as far as connectors use it, with what makes the real one hard:
//! it ignores a query that it does not understand, says 201 to an import whose row failed, limits by
//! the hour, and hangs up.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::receiver::{Asked, Receiver, Reply};

pub(crate) const USER: &str = "entitlements";
pub(crate) const PASSWORD: &str = "servicenow-password-hush";

pub(crate) type Row = BTreeMap<String, String>;

/// What goes wrong with the next request that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is done, and nothing is answered.
    HangsUpAfter,
    /// Too many requests in this hour.
    Limited,
    /// The transform map fails.
    ErrorRow,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) rows: Vec<Row>,
    pub(crate) faults: Vec<Fault>,
    /// Whether `correlation_id` is a column that it knows.
    pub(crate) ignores_query: bool,
    /// Whether it answers 404 where it finds nothing, as version 1 does.
    pub(crate) empty_is_404: bool,
    /// How many searches do not find anything.
    pub(crate) search_lag: usize,
}

/// The server.
pub(crate) struct ServiceNow {
    pub(crate) receiver: Receiver,
    pub(crate) state: Arc<Mutex<State>>,
}

impl ServiceNow {
    pub(crate) async fn start() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let own = state.clone();
        let receiver = Receiver::start(move |asked| own.lock().unwrap().answer(asked)).await;
        Self { receiver, state }
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.state.lock().unwrap().faults.push(fault);
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.state.lock().unwrap().rows.clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }
}

fn error(status: u16, message: &str, detail: &str) -> Reply {
    let body = json!({ "error": { "message": message, "detail": detail }, "status": "failure" });
    Reply::json(status, &body)
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Reply {
        let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
        if asked.header("authorization") != basic {
            return error(401, "User Not Authenticated", "Required to provide Auth information");
        }
        let fault = match asked.method.as_str() {
            "GET" => None,
            _ => (!self.faults.is_empty()).then(|| self.faults.remove(0)),
        };
        if fault == Some(Fault::Limited) {
            let detail = "Rate limit of 10 requests per hour for Table API exceeded";
            return error(429, "Rate limit exceeded", detail).with("retry-after", "3600");
        }
        let reply = self.route(asked, fault);
        if fault == Some(Fault::HangsUpAfter) { Reply::hang_up() } else { reply }
    }

    fn route(&mut self, asked: &Asked, fault: Option<Fault>) -> Reply {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (asked.method.as_str(), parts.as_slice()) {
            ("POST", ["api", "now", "table", "incident"]) => {
                let Some(fields) = strings(&asked.json()) else {
                    return error(400, "Invalid request", "values are strings");
                };
                let row = self.insert(fields);
                Reply::json(201, &json!({ "result": row }))
            }
            ("PATCH", ["api", "now", "table", "incident", id]) => {
                let Some(fields) = strings(&asked.json()) else {
                    return error(400, "Invalid request", "values are strings");
                };
                match self.rows.iter_mut().find(|row| row["sys_id"] == *id) {
                    None => error(404, "No Record found", "Record doesn't exist"),
                    Some(row) => {
                        update(row, fields);
                        Reply::json(200, &json!({ "result": row }))
                    }
                }
            }
            ("GET", ["api", "now", "table", "incident"]) => self.search(query),
            ("POST", ["api", "now", "import", "u_events"]) => self.import(&asked.json(), fault),
            _ => error(404, "Invalid table", path),
        }
    }

    fn insert(&mut self, mut fields: Row) -> Row {
        let number = self.rows.len() + 1;
        fields.insert("sys_id".into(), format!("{number:032x}"));
        fields.insert("number".into(), format!("INC{number:07}"));
        fields.entry("state".into()).or_insert_with(|| "1".into());
        self.rows.push(fields.clone());
        fields
    }

    fn search(&mut self, query: &str) -> Reply {
        if self.search_lag > 0 {
            self.search_lag -= 1;
            return Reply::json(200, &json!({ "result": [] }));
        }
        let wanted =
            query.split("correlation_id%3D").nth(1).and_then(|rest| rest.split('%').next());
        let rows: Vec<&Row> = match wanted {
            // A field that it does not know is left out of the query.
            _ if self.ignores_query => self.rows.iter().take(2).collect(),
            None => self.rows.iter().take(2).collect(),
            Some(wanted) => {
                let fits = |row: &&Row| row.get("correlation_id").is_some_and(|id| id == wanted);
                self.rows.iter().filter(fits).take(2).collect()
            }
        };
        if rows.is_empty() && self.empty_is_404 {
            return error(404, "No Record found", "Records matching query not found");
        }
        Reply::json(200, &json!({ "result": rows }))
    }

    /// Maps the columns that there are and coalesces on `u_correlation_id`, as the transform map of
    /// the documentation does. Names that are no columns are passed over.
    fn import(&mut self, body: &Value, fault: Option<Fault>) -> Reply {
        let Some(columns) = strings(body) else {
            return error(400, "Invalid request", "values are strings");
        };
        let field =
            |(name, value): (String, String)| Some((name.strip_prefix("u_")?.into(), value));
        let fields: Row = columns.into_iter().filter_map(field).collect();
        let outcome = |status: &str, row: Option<&Row>, why: &str| {
            let mut result = json!({ "transform_map": "events", "table": "incident",
                "status": status, "display_name": "number" });
            if let Some(row) = row {
                result["sys_id"] = row["sys_id"].as_str().into();
                result["display_value"] = row["number"].as_str().into();
            } else {
                result["error_message"] = why.into();
            }
            json!({ "import_set": "ISET0010001", "staging_table": "u_events", "result": [result] })
        };
        if fault == Some(Fault::ErrorRow) {
            return Reply::json(201, &outcome("error", None, "the transform script failed"));
        }
        let id = fields.get("correlation_id").cloned().unwrap_or_default();
        let known = self.rows.iter_mut().find(|row| row.get("correlation_id") == Some(&id));
        match known {
            Some(row) => {
                update(row, fields);
                Reply::json(201, &outcome("updated", Some(row), ""))
            }
            None => {
                let row = self.insert(fields);
                Reply::json(201, &outcome("inserted", Some(&row), ""))
            }
        }
    }
}

/// Notes are a journal: each is put before the others.
fn update(row: &mut Row, fields: Row) {
    for (name, value) in fields {
        let value = match (name.as_str(), row.get(&name)) {
            ("work_notes", Some(before)) => format!("{value}\n----\n{before}"),
            _ => value,
        };
        row.insert(name, value);
    }
}

fn strings(body: &Value) -> Option<Row> {
    let fields = body.as_object()?;
    fields.iter().map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}
