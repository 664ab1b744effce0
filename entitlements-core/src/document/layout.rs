//! How objects of a catalog are laid out as TOML.
//!
//! What fits stands on one line. A longer table gets a header of its own, a longer list a line for
//! each element. Fields stand in the order in which people think of them, everything else by name.

use std::fmt::Write;

use serde_json::{Map, Value};
use toml::{Table, Value as Toml, value::Datetime};

/// The longest line that is not broken, in characters.
const WIDTH: usize = 110;

/// The order of fields in an object, and in a version of a plan.
const FIELDS: [&str; 23] = [
    "name",
    "description",
    "kind",
    "module",
    "from",
    "existing_from",
    "extends",
    "window",
    "audience",
    "countries",
    "enrolment",
    "exclusive_group",
    "priority",
    "available_to",
    "requires",
    "excludes",
    "integrations",
    "max_quantity",
    "essential",
    "when_stale",
    "bundles",
    "grants",
    "versions",
];

/// A table of the catalog as TOML, and its objects that have no TOML form.
pub(super) fn table(name: &str, objects: Map<String, Value>) -> (String, Map<String, Value>) {
    let (mut text, mut rest) = (String::new(), Map::new());
    for (key, object) in objects {
        match to_toml(&object) {
            Some(Toml::Table(mut fields)) => {
                let path = format!("{name}.{}", key_text(&key));
                with_times(&mut fields);
                section(&mut text, &path, Header::Table, in_order(fields));
            }
            _ => _ = rest.insert(key, object),
        }
    }
    (text, rest)
}

/// Objects of a table as JSON.
pub(super) fn json(name: &str, objects: Map<String, Value>) -> Result<String, serde_json::Error> {
    let tables = Map::from_iter([(name.to_owned(), Value::Object(objects))]);
    serde_json::to_string_pretty(&tables).map(|text| text + "\n")
}

/// `None` where TOML has no form for it: `null`, or a number that it cannot hold.
fn to_toml(value: &Value) -> Option<Toml> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => Toml::Boolean(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Toml::Integer(number),
            None if number.is_u64() => return None,
            None => Toml::Float(number.as_f64()?),
        },
        Value::String(text) => Toml::String(text.clone()),
        Value::Array(list) => Toml::Array(list.iter().map(to_toml).collect::<Option<_>>()?),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| Some((key.clone(), to_toml(value)?)));
            Toml::Table(entries.collect::<Option<_>>()?)
        }
    })
}

/// Writes instants as TOML's own.
fn with_times(object: &mut Table) {
    if let Some(Toml::Table(window)) = object.get_mut("window") {
        times(window, ["from", "until"]);
    }
    if let Some(Toml::Array(versions)) = object.get_mut("versions") {
        for version in versions.iter_mut().filter_map(Toml::as_table_mut) {
            times(version, ["from", "existing_from"]);
        }
    }
}

fn times(table: &mut Table, names: [&str; 2]) {
    for name in names {
        let Some(value) = table.get_mut(name) else { continue };
        let time: Option<Datetime> = value.as_str().and_then(|text| text.parse().ok());
        // A year before 0 or after 9999 stays a text.
        if let Some(time) = time.filter(|time| value.as_str() == Some(&time.to_string())) {
            *value = Toml::Datetime(time);
        }
    }
}

type Fields = Vec<(String, Toml)>;

fn in_order(fields: Table) -> Fields {
    let mut fields: Fields = fields.into_iter().collect();
    // A stable sort: what has no place of its own stays in the order of names.
    fields.sort_by_key(|(name, _)| {
        FIELDS.iter().position(|field| field == name).unwrap_or(FIELDS.len())
    });
    fields
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    /// `[path]`
    Table,
    /// `[[path]]`, one of several.
    Element,
}

/// A table with a header: first what stands on lines, then what has headers of its own.
fn section(text: &mut String, path: &str, header: Header, fields: Fields) {
    let (mut lines, mut below) = (String::new(), Vec::new());
    for (name, value) in fields {
        let key = key_text(&name);
        match value {
            Toml::Array(list)
                if name == "versions" && !list.is_empty() && list.iter().all(Toml::is_table) =>
            {
                below.push((key, Toml::Array(list)));
            }
            Toml::Table(table) if !fits(&key, &Toml::Table(table.clone())) => {
                below.push((key, Toml::Table(table)));
            }
            value => line(&mut lines, &key, &value),
        }
    }
    // A table that only holds tables with headers needs none, and TOML makes it all the same.
    if header == Header::Element || !lines.is_empty() || below.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        *text += &match header {
            Header::Table => format!("[{path}]\n"),
            Header::Element => format!("[[{path}]]\n"),
        };
        *text += &lines;
    }
    for (key, value) in below {
        let path = format!("{path}.{key}");
        match value {
            Toml::Table(table) => {
                section(text, &path, Header::Table, table.into_iter().collect());
            }
            Toml::Array(list) => {
                for element in list {
                    let Toml::Table(table) = element else { continue };
                    section(text, &path, Header::Element, in_order(table));
                }
            }
            _ => {}
        }
    }
}

fn fits(key: &str, value: &Toml) -> bool {
    key.chars().count() + " = ".len() + inline(value).chars().count() <= WIDTH
}

fn line(lines: &mut String, key: &str, value: &Toml) {
    *lines += &match value {
        Toml::Array(list) if !fits(key, value) => {
            let elements: String =
                list.iter().map(|element| format!("  {},\n", inline(element))).collect();
            format!("{key} = [\n{elements}]\n")
        }
        Toml::String(content) if content.contains('\n') => {
            format!("{key} = {}\n", paragraphs(content))
        }
        value => format!("{key} = {}\n", inline(value)),
    };
}

fn inline(value: &Toml) -> String {
    match value {
        Toml::String(text) => quoted(text),
        Toml::Integer(number) => number.to_string(),
        // `Debug` has a point or an exponent where `Display` would make an integer of it.
        Toml::Float(number) => format!("{number:?}"),
        Toml::Boolean(flag) => flag.to_string(),
        Toml::Datetime(time) => time.to_string(),
        Toml::Array(list) => {
            let elements: Vec<_> = list.iter().map(inline).collect();
            format!("[{}]", elements.join(", "))
        }
        Toml::Table(table) if table.is_empty() => "{}".into(),
        Toml::Table(table) => {
            let entry =
                |(key, value): (&String, &Toml)| format!("{} = {}", key_text(key), inline(value));
            let entries: Vec<_> = table.iter().map(entry).collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

fn key_text(key: &str) -> String {
    let is_bare = !key.is_empty()
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if is_bare { key.into() } else { quoted(key) }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    text.chars().for_each(|c| escape(&mut quoted, c));
    quoted + "\""
}

/// A text of several lines, which stays one.
fn paragraphs(text: &str) -> String {
    let mut quoted = String::from("\"\"\"\n");
    for c in text.chars() {
        if c == '\n' { quoted.push(c) } else { escape(&mut quoted, c) }
    }
    quoted + "\"\"\""
}

fn escape(text: &mut String, c: char) {
    match c {
        '"' => *text += "\\\"",
        '\\' => *text += "\\\\",
        '\n' => *text += "\\n",
        '\r' => *text += "\\r",
        '\t' => *text += "\\t",
        // Nothing fails that writes to a text.
        c if c.is_control() => _ = write!(text, "\\u{:04X}", u32::from(c)),
        c => text.push(c),
    }
}
