//! Teams, rules and words: kept, checked against each other, tried out.

use entitlements_core::Revision;
use serde::Serialize;
use serde_json::{Value, json};

use super::{App, Error, Expected, execute::Decided};
use crate::{
    store::{Listed, Reading},
    workflow::{
        Kind, ObjectId, Origin, Record, Write,
        connector::Medium,
        notice::EventType,
        routing::{Route, Team},
        template::{Message, Template, render, render_plainly},
        who::Audiences,
    },
};

/// Something that says who is told of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Routing {
    /// A team.
    Team(Team),
    /// A rule.
    Route(Box<Route>),
    /// Words.
    Template(Template),
}

impl Routing {
    /// What kind of thing.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Team(_) => Kind::Team,
            Self::Route(_) => Kind::Route,
            Self::Template(_) => Kind::Template,
        }
    }

    fn record(&self) -> Result<Record, Error> {
        let record = match self {
            Self::Team(team) => Record::of(team),
            Self::Route(route) => Record::of(route),
            Self::Template(template) => Record::of(template),
        };
        record.map_err(|error| Error::Unavailable(error.to_string()))
    }
}

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 64;

/// Goes on where a text can be a key.
pub(super) fn check_key(key: &str) -> Result<(), Error> {
    let letters =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    match (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(letters) {
        true => Ok(()),
        false => Err(Error::InvalidInput(format!(
            "`{key}` is no key: use 1 to {KEY_BYTES_MAX} of `a-z`, `0-9`, `.`, `_` and `-`"
        ))),
    }
}

impl App {
    /// A team, a rule or words, as they are kept.
    ///
    /// # Errors
    /// Where there is no such thing.
    pub async fn routing(&self, kind: Kind, key: &str) -> Result<(String, Revision), Error> {
        let found = self.present(ObjectId::new(kind, key), Expected::Any).await?;
        let found =
            found.ok_or_else(|| Error::NotFound(format!("there is no {} `{key}`", kind.code())))?;
        Ok((found.json, found.revision))
    }

    /// At most `limit` of a kind whose keys come after `after`.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn routings(
        &self,
        kind: Kind,
        after: String,
        limit: u32,
    ) -> Result<Vec<Listed>, Error> {
        let read = move |store: &Reading<'_>| store.objects(kind, &after, limit);
        Ok(self.store().read(read).await?)
    }

    pub(super) async fn decide_routing(
        &self,
        origin: Origin,
        key: &str,
        routing: &Routing,
        expected: Expected,
    ) -> Result<Decided, Error> {
        check_key(key)?;
        let checked = match routing {
            Routing::Team(team) => team.check(),
            Routing::Route(route) => route.check(),
            Routing::Template(template) => template.check(),
        };
        checked.map_err(Error::InvalidInput)?;
        let id = ObjectId::new(routing.kind(), key);
        let present = self.present(id.clone(), expected).await?;
        let mut changes = origin.changeset(id.for_people());
        match routing {
            Routing::Team(_) => {}
            Routing::Route(route) => {
                self.check_route(route).await?;
                // What it names must still be there when it is committed.
                for (kind, key) in named(route) {
                    let id = ObjectId::new(kind, key);
                    let row = self.present(id.clone(), Expected::Any).await?;
                    changes.reads.insert(id, row.map(|row| row.revision));
                }
            }
            Routing::Template(template) => self.check_template(key, template).await?,
        }
        let write =
            Write { expected: present.map(|row| row.revision), after: Some(routing.record()?) };
        changes.writes.insert(id, write);
        Ok(changes.into())
    }

    pub(super) async fn decide_routing_removal(
        &self,
        origin: Origin,
        kind: Kind,
        key: &str,
        expected: Expected,
    ) -> Result<Decided, Error> {
        let id = ObjectId::new(kind, key);
        let present = self.present(id.clone(), expected).await?;
        let present = present
            .ok_or_else(|| Error::NotFound(format!("there is no {} `{key}`", kind.code())))?;
        let known = self.open_book().await?;
        let uses = |(_, route): &(&String, &Route)| named(route).contains(&(kind, key.into()));
        if let Some((user, _)) = known.book.routes.iter().find(uses) {
            return Err(Error::Refused(format!(
                "route `{user}` uses {} `{key}`: change or remove that first",
                kind.code()
            )));
        }
        let mut changes = origin.changeset(id.for_people());
        changes.writes.insert(id, Write { expected: Some(present.revision), after: None });
        Ok(changes.into())
    }

    /// What a rule names must be there, and its words must do for what it takes.
    async fn check_route(&self, route: &Route) -> Result<(), Error> {
        let known = self.open_book().await?;
        let missing = |what: &str, key: &str| {
            Error::InvalidInput(format!("`{what}`: there is no {what} `{key}`"))
        };
        let book = &known.book;
        if !book.teams.contains_key(&route.team) {
            return Err(missing("team", &route.team));
        }
        let connector = book.connectors.get(&route.connector);
        let connector = connector.ok_or_else(|| missing("connector", &route.connector))?;
        if !connector.kind.takes_messages() {
            return Err(Error::InvalidInput(format!(
                "`connector`: `{}` is a service broker, which takes no messages: name it in the \
                 steps of a listing",
                route.connector
            )));
        }
        if route.gather.is_some() && !connector.kind.gathers() {
            return Err(Error::InvalidInput(format!(
                "`gather`: connector `{}` takes one event at a time: only Slack and mail take \
                 several",
                route.connector
            )));
        }
        if let Some(audience) = &route.audience {
            let pin = self.pin();
            Audiences::new(pin.catalog().draft(), [("audience", audience)]).map_err(
                |problems| {
                    let first = problems.into_iter().next().map(|problem| problem.message);
                    Error::InvalidInput(format!("`audience`: {}", first.unwrap_or_default()))
                },
            )?;
        }
        let Some(key) = &route.template else { return Ok(()) };
        let template = book.templates.get(key).ok_or_else(|| missing("template", key))?;
        does_for(route, template, connector.kind.medium())
    }

    /// Words that rules use already must do for what those take.
    async fn check_template(&self, key: &str, template: &Template) -> Result<(), Error> {
        let known = self.open_book().await?;
        for (name, route) in &known.book.routes {
            let connector = known.book.connectors.get(&route.connector);
            let Some(connector) = connector.filter(|_| route.template.as_deref() == Some(key))
            else {
                continue;
            };
            does_for(route, template, connector.kind.medium())
                .map_err(|error| Error::InvalidInput(format!("route `{name}` uses it: {error}")))?;
        }
        Ok(())
    }

    /// What comes of words for an event: of the notice of this id, or an event of this type as it
    /// might be.
    ///
    /// # Errors
    /// Where there is no such notice or type, or what is wrong with the words.
    pub async fn preview_words(
        &self,
        template: Option<&Template>,
        event: &str,
        medium: Medium,
    ) -> Result<Previewed, Error> {
        let (event_type, envelope) = match EventType::of_code(event) {
            Some(event_type) => (event_type, sample(event_type)),
            None => {
                let kept = self.notice(event).await?.0;
                (kept.notice.event_type, self.envelope(&kept))
            }
        };
        let message = match template {
            None => render_plainly(&[(event_type, envelope.clone())], medium),
            Some(template) => template
                .check()
                .and_then(|()| render(template, std::slice::from_ref(&envelope), medium)),
        };
        Ok(Previewed { message: message.map_err(Error::InvalidInput)?, event: envelope })
    }
}

/// What comes of words for an event.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Previewed {
    /// The message.
    pub message: Message,
    /// The event, as templates see it.
    pub event: Value,
}

/// Whether words do for all that a rule takes.
fn does_for(route: &Route, template: &Template, medium: Medium) -> Result<(), Error> {
    for event_type in EventType::ALL.iter().filter(|event_type| route.names(**event_type)) {
        render(template, &[sample(*event_type)], medium).map_err(|why| {
            Error::InvalidInput(format!("the template fails for `{}`: {why}", event_type.code()))
        })?;
    }
    Ok(())
}

/// An event of a type as it might be.
fn sample(event_type: EventType) -> Value {
    json!({
        "specversion": "1.0",
        "id": "evt_sample",
        "source": "/entitlements/sample",
        "type": crate::workflow::notice::type_name(event_type),
        "subject": "sample/subject",
        "time": "2026-03-01T00:00:00Z",
        "datacontenttype": "application/json",
        "sequence": "00000000000000000001.000000",
        "severity": event_type.severity().code(),
        "tenant": "acme",
        "data": event_type.sample(),
    })
}

/// What a rule names.
fn named(route: &Route) -> Vec<(Kind, String)> {
    let mut all =
        vec![(Kind::Team, route.team.clone()), (Kind::Connector, route.connector.clone())];
    all.extend(route.template.clone().map(|key| (Kind::Template, key)));
    all
}
