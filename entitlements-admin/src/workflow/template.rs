//! The words of messages: templates that people edit, and what comes of them for an event.
//!
//! A name that is not there is a mistake, not nothing. Values are escaped for the medium; what whoever
//! wrote the template put there is not.

use jiff::tz::TimeZone;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    connector::{Medium, line},
    notice::EventType,
};

/// Words for events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// What people call it.
    pub name: String,
    /// One line: the subject of a mail, the title of an issue.
    pub title: String,
    /// The rest. For a webhook: its whole body, as JSON.
    pub text: String,
}

/// The longest template, in bytes.
const TEMPLATE_BYTES_MAX: usize = 16 * 1_024;
/// The longest text that comes of one, in bytes.
const TEXT_BYTES_MAX: usize = 64 * 1_024;
/// The longest title that comes of one, in characters.
const TITLE_CHARS_MAX: usize = 200;
/// How many steps a template may take.
const STEPS_MAX: u64 = 200_000;

impl Template {
    /// What is wrong with it first, whatever event it is for.
    ///
    /// # Errors
    /// Where something is.
    pub fn check(&self) -> Result<(), String> {
        line("name", &self.name)?;
        let environment = environment(Medium::Text);
        for (part, text) in [("title", &self.title), ("text", &self.text)] {
            if text.trim().is_empty() || text.len() > TEMPLATE_BYTES_MAX {
                return Err(format!("`{part}` takes 1 to {TEMPLATE_BYTES_MAX} bytes"));
            }
            environment
                .template_from_str(text)
                .map_err(|error| format!("`{part}`: {}", sentence(&error)))?;
        }
        Ok(())
    }
}

/// A message in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Message {
    /// One line, as plain text.
    pub title: String,
    /// The rest, in its medium.
    pub text: String,
}

/// Renders events as one message. `events` are envelopes, at least one.
///
/// # Errors
/// What is wrong with the template, in a sentence that names the line.
pub fn render(template: &Template, events: &[Value], medium: Medium) -> Result<Message, String> {
    let title = render_text(&template.title, events, Medium::Text)
        .map_err(|why| format!("`title`: {why}"))?;
    let text =
        render_text(&template.text, events, medium).map_err(|why| format!("`text`: {why}"))?;
    if medium == Medium::Json {
        serde_json::from_str::<Value>(&text)
            .map_err(|error| format!("`text`: what comes of it is no JSON: {error}"))?;
    }
    Ok(Message { title: one_line(&title), text })
}

/// Renders events in our own words.
///
/// # Errors
/// Where an event's data is not what its type says.
pub fn render_plainly(events: &[(EventType, Value)], medium: Medium) -> Result<Message, String> {
    let own = |event_type: EventType| Template {
        name: event_type.code().into(),
        title: event_type.title().into(),
        text: event_type.text().into(),
    };
    let mut messages = Vec::with_capacity(events.len());
    for (event_type, event) in events {
        // JSON of our own is the envelope; its words are plain.
        let medium = if medium == Medium::Json { Medium::Text } else { medium };
        messages.push(render(&own(*event_type), std::slice::from_ref(event), medium)?);
    }
    let count = messages.len();
    let mut messages = messages.into_iter();
    let Some(first) = messages.next() else { return Err("there is no event".into()) };
    if count == 1 {
        return Ok(first);
    }
    let title = format!("{count} messages: {}, …", first.title);
    let all = std::iter::once(first).chain(messages);
    let rows = all.map(|one| format!("• {}\n{}", escaped(&one.title, medium), one.text));
    let text = cut(&rows.collect::<Vec<_>>().join("\n\n"), TEXT_BYTES_MAX);
    Ok(Message { title: one_line(&title), text })
}

fn render_text(source: &str, events: &[Value], medium: Medium) -> Result<String, String> {
    let value = |json: &Value| {
        minijinja::Value::deserialize(json).map_err(|error| format!("an event: {error}"))
    };
    let first = events.first().ok_or("there is no event")?;
    let all = events.iter().map(value).collect::<Result<Vec<_>, _>>()?;
    let context = context! {
        event => value(first)?,
        data => value(first.get("data").unwrap_or(&Value::Null))?,
        events => all,
        count => events.len(),
    };
    let text = environment(medium).render_str(source, context).map_err(|error| sentence(&error))?;
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("what comes of it is longer than {TEXT_BYTES_MAX} bytes"));
    }
    Ok(text)
}

fn environment(medium: Medium) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(STEPS_MAX));
    environment.set_auto_escape_callback(move |_| match medium {
        Medium::Text => AutoEscape::None,
        Medium::Json => AutoEscape::Json,
        Medium::Slack => AutoEscape::Custom("slack".into()),
        Medium::Wiki => AutoEscape::Custom("wiki".into()),
    });
    environment.set_formatter(move |output, state, value| match state.auto_escape() {
        AutoEscape::Custom(_) if !value.is_safe() && !value.is_undefined() => {
            output.write_str(&escaped(&value.to_string(), medium)).map_err(Into::into)
        }
        AutoEscape::Custom(_) if !value.is_undefined() => {
            output.write_str(&value.to_string()).map_err(Into::into)
        }
        AutoEscape::Custom(_) => Err(minijinja::ErrorKind::UndefinedError.into()),
        _ => minijinja::escape_formatter(output, state, value),
    });
    environment.add_filter("date", date);
    environment
}

/// An instant for people: `1 March 2026, 00:00 UTC`.
fn date(text: &str) -> Result<String, minijinja::Error> {
    let wrong = || {
        let text = format!("`{text}` is no instant for `date`");
        minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, text)
    };
    let at: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
    Ok(at.to_zoned(TimeZone::UTC).strftime("%-d %B %Y, %H:%M UTC").to_string())
}

/// A text of others, so that it is nothing but text in a medium.
#[must_use]
pub fn escaped(text: &str, medium: Medium) -> String {
    match medium {
        Medium::Text | Medium::Json => text.into(),
        Medium::Slack => text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
        Medium::Wiki => {
            let mut safe = String::with_capacity(text.len());
            for letter in text.chars() {
                if "{}[]\\|!*_^~?+-#@".contains(letter) {
                    safe.push('\\');
                }
                safe.push(letter);
            }
            safe
        }
    }
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    let line: String = line.chars().filter(|letter| !letter.is_control()).collect();
    if line.chars().count() <= TITLE_CHARS_MAX {
        return line;
    }
    line.chars().take(TITLE_CHARS_MAX - 1).chain(['…']).collect()
}

/// At most so many bytes of a text, between two characters.
#[must_use]
pub fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.into();
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub('…'.len_utf8()));
    format!("{}…", &text[..end])
}

/// What is wrong, with the line that it is in.
fn sentence(error: &minijinja::Error) -> String {
    let what = match (error.kind(), error.detail()) {
        (minijinja::ErrorKind::UndefinedError, _) => {
            "it names something that the event does not have: ask with `is defined` first, or see \
             `GET /v1/event-types`"
                .to_owned()
        }
        (minijinja::ErrorKind::OutOfFuel, _) => "it takes too many steps".into(),
        (_, Some(detail)) => detail.into(),
        (kind, None) => kind.to_string(),
    };
    match error.line() {
        Some(line) => format!("line {line}: {what}"),
        None => what,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(title: &str, text: &str) -> Template {
        Template { name: "x".into(), title: title.into(), text: text.into() }
    }

    fn event(name: &str) -> Value {
        json!({ "id": "evt_1", "tenant": "acme", "data": { "name": name, "seats": 5 } })
    }

    fn text(source: &str, name: &str, medium: Medium) -> Result<String, String> {
        render(&template("t", source), &[event(name)], medium).map(|message| message.text)
    }

    #[test]
    fn values_are_escaped_for_their_medium_and_templates_are_not() {
        let bad = "<!channel> & *x* {code}";
        let source = "<b>{{ data.name }}</b>";
        for (medium, expected) in [
            (Medium::Text, "<b><!channel> & *x* {code}</b>"),
            (Medium::Slack, "<b>&lt;!channel&gt; &amp; *x* {code}</b>"),
            (Medium::Wiki, "<b><\\!channel> & \\*x\\* \\{code\\}</b>"),
        ] {
            assert_eq!(text(source, bad, medium).unwrap(), expected);
        }
        let json =
            text(r#"{"name":{{ data.name }},"seats":{{ data.seats }}}"#, "a\"b\n", Medium::Json);
        let value: Value = serde_json::from_str(&json.unwrap()).unwrap();
        assert_eq!(value, json!({ "name": "a\"b\n", "seats": 5 }));
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (source, said) in [
            ("a\n{{ data.nothing }}", "line 2: it names something"),
            ("{% if data.nothing %}x{% endif %}", "line 1: it names something"),
            ("{% for n in range(9999999) %}{{ n }}{% endfor %}", "line 1"),
            ("{{ data.name | date }}", "no instant"),
            (
                "{% for a in [1,2] %}{% for n in range(9999) %}{% for m in range(9999) %}x{% endfor %}\
              {% endfor %}{% endfor %}",
                "too many steps",
            ),
        ] {
            for medium in [Medium::Text, Medium::Slack, Medium::Wiki] {
                let error = text(source, "x", medium).unwrap_err();
                assert!(error.contains(said), "{source}: {error}");
            }
        }
        assert!(text("no json", "x", Medium::Json).unwrap_err().contains("no JSON"));
        assert!(template("{{ a", "x").check().unwrap_err().contains("`title`: line 1"));
        assert!(
            template("a", "{% include 'x' %}{% endfor %}").check().unwrap_err().contains("`text`")
        );
        assert!(template(" ", "x").check().unwrap_err().contains("`title`"));
        assert_eq!(template("a", "{{ data.nothing }}").check(), Ok(()), "it depends on the event");
    }

    #[test]
    fn a_title_is_one_line() {
        let long = "x".repeat(300);
        let message = |title: &str| render(&template(title, "t"), &[event("a")], Medium::Text);
        assert_eq!(message("a\r\nBcc: b\u{0}c").unwrap().title, "a Bcc: bc");
        let title = message(&long).unwrap().title;
        assert_eq!((title.chars().count(), title.ends_with('…')), (200, true));
    }

    #[test]
    fn every_type_has_words_of_its_own() {
        for event_type in EventType::ALL {
            let event = json!({ "id": "e", "data": event_type.sample() });
            for medium in [Medium::Text, Medium::Slack, Medium::Wiki, Medium::Json] {
                let message = render_plainly(&[(*event_type, event.clone())], medium).unwrap();
                assert!(!message.title.is_empty() && !message.text.contains("{{"), "{message:?}");
            }
            // What may be absent may be absent.
            let mut bare = event_type.sample();
            for name in ["from", "author", "note", "reason", "cause", "detail", "draft"] {
                bare.as_object_mut().unwrap().remove(name);
            }
            let is_about_a_draft = event_type.text().contains("the draft `{{ data.draft }}`")
                && !event_type.text().contains("data.draft is defined");
            if !is_about_a_draft && *event_type != EventType::PromotionStarted {
                let event = json!({ "id": "e", "data": bare });
                render_plainly(&[(*event_type, event)], Medium::Text).unwrap();
            }
        }
        let two = [EventType::TrialEndsSoon, EventType::SinkRepaired]
            .map(|event_type| (event_type, json!({ "data": event_type.sample() })));
        let message = render_plainly(&two, Medium::Slack).unwrap();
        assert!(message.title.starts_with("2 messages: The trial of Acme Clinic"), "{message:?}");
        assert!(message.text.contains("• Sink unleash was repaired"), "{message:?}");
    }
}
