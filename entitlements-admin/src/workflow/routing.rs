//! Who is told of what: teams, rules, quiet hours, and what goes out together.

use std::collections::{BTreeMap, BTreeSet};

use entitlements_core::{Audience, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    civil::{Day, clock_time, instant, zone},
    connector::{Connector, line},
    notice::{EventType, Notice, Severity},
    people::email_of,
};

/// People who look after something together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// What people call it.
    pub name: String,
    /// The addresses of those in it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub members: BTreeSet<String>,
    /// When it is left alone; never where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<QuietHours>,
}

impl Team {
    /// What is wrong with it first.
    ///
    /// # Errors
    /// Where something is.
    pub fn check(&self) -> Result<(), String> {
        line("name", &self.name)?;
        for member in &self.members {
            email_of(member).map_err(|why| format!("`members`: {why}"))?;
        }
        self.quiet_hours.as_ref().map_or(Ok(()), QuietHours::check)
    }
}

/// When a team is left alone, by its own clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// By which clock, such as `Europe/Berlin`.
    pub time_zone: String,
    /// When work begins, such as `08:00`.
    pub work_from: String,
    /// When it ends, such as `18:00`.
    pub work_until: String,
    /// The days without work.
    #[serde(default = "weekend")]
    pub days_off: BTreeSet<Day>,
    /// What is at least so grave comes through.
    #[serde(default = "critical")]
    pub breaks: Severity,
}

fn weekend() -> BTreeSet<Day> {
    BTreeSet::from([Day::Sat, Day::Sun])
}

const fn critical() -> Severity {
    Severity::Critical
}

/// How many days to look ahead for one with work: more than a week.
const DAYS_AHEAD: i64 = 9;

impl QuietHours {
    fn check(&self) -> Result<(), String> {
        zone(&self.time_zone).map_err(|why| format!("`quiet_hours.time_zone`: {why}"))?;
        let from = clock_time(&self.work_from).map_err(|why| format!("`work_from`: {why}"))?;
        let until = clock_time(&self.work_until).map_err(|why| format!("`work_until`: {why}"))?;
        if from >= until {
            return Err("`quiet_hours`: work ends before it begins".into());
        }
        if self.days_off.len() == 7 {
            return Err("`quiet_hours.days_off` leaves no day: take one out".into());
        }
        Ok(())
    }

    /// When the team can be told something that comes at an instant.
    #[must_use]
    pub fn not_before(&self, severity: Severity, now: Timestamp) -> Timestamp {
        if severity >= self.breaks {
            return now;
        }
        self.work_at_or_after(now).unwrap_or(now)
    }

    fn work_at_or_after(&self, now: Timestamp) -> Option<Timestamp> {
        let zone = zone(&self.time_zone).ok()?;
        let (from, until) = (clock_time(&self.work_from).ok()?, clock_time(&self.work_until).ok()?);
        let local = jiff::Timestamp::from_microsecond(now.as_micros()).ok()?.to_zoned(zone.clone());
        for ahead in 0..DAYS_AHEAD {
            let day = local.date().checked_add(jiff::Span::new().days(ahead)).ok()?;
            if self.days_off.contains(&Day::from(day.weekday())) {
                continue;
            }
            let (begins, ends) = (instant(day, from, &zone)?, instant(day, until, &zone)?);
            if now < ends {
                return Some(now.max(begins));
            }
        }
        None
    }
}

/// What goes out together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Gather {
    /// What comes within some seconds of the first.
    Seconds {
        /// How many.
        count: u32,
        /// What of it belongs together.
        #[serde(default)]
        by: GatherBy,
    },
    /// Everything of an hour.
    Hourly {},
    /// Everything of a day.
    Daily {
        /// When it goes out, such as `08:00`.
        at: String,
        /// By which clock; by that of the team's quiet hours, or UTC, where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time_zone: Option<String>,
    },
}

/// What belongs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GatherBy {
    /// Everything that the rule sends.
    #[default]
    Route,
    /// What is about one tenant.
    Tenant,
    /// What is about one subject.
    Subject,
    /// What is of one type.
    EventType,
}

/// The longest that something is gathered by seconds.
const GATHER_S_MAX: u32 = 86_400;

impl Gather {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Seconds { count, .. } if !(1..=GATHER_S_MAX).contains(count) => {
                Err(format!("`gather.seconds.count = {count}`: use 1 to {GATHER_S_MAX}"))
            }
            Self::Seconds { .. } | Self::Hourly {} => Ok(()),
            Self::Daily { at, time_zone } => {
                clock_time(at).map_err(|why| format!("`gather.daily.at`: {why}"))?;
                let named = time_zone.as_deref().map_or(Ok(()), |name| zone(name).map(drop));
                named.map_err(|why| format!("`gather.daily.time_zone`: {why}"))
            }
        }
    }

    /// Under which name something is gathered, and until when.
    fn bin(&self, notice: &Notice, team: &Team, now: Timestamp) -> Option<(String, Timestamp)> {
        match self {
            Self::Seconds { count, by } => {
                let key = match by {
                    GatherBy::Route => String::new(),
                    GatherBy::Tenant => notice.tenant.clone().unwrap_or_default(),
                    GatherBy::Subject => notice.subject.clone(),
                    GatherBy::EventType => notice.event_type.code().into(),
                };
                let wait = std::time::Duration::from_secs(u64::from(*count));
                Some((key, now.plus(wait)))
            }
            Self::Hourly {} => {
                let hour = 3_600_000_000;
                let next = now.as_micros().div_euclid(hour).saturating_add(1).saturating_mul(hour);
                Some((String::new(), Timestamp::from_micros(next)))
            }
            Self::Daily { at, time_zone } => {
                let own = team.quiet_hours.as_ref().map(|quiet| quiet.time_zone.as_str());
                let zone = zone(time_zone.as_deref().or(own).unwrap_or("UTC")).ok()?;
                let at = clock_time(at).ok()?;
                let local = jiff::Timestamp::from_microsecond(now.as_micros()).ok()?;
                let today = local.to_zoned(zone.clone()).date();
                let next = instant(today, at, &zone).filter(|next| *next > now);
                let next = next.or_else(|| instant(today.tomorrow().ok()?, at, &zone))?;
                Some((String::new(), next))
            }
        }
    }
}

/// A rule: when such an event comes, this team is told by this connector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Which types of events: `promotion.started`, `promotion.*` or `*`.
    pub events: BTreeSet<String>,
    /// Only about these tenants. An event about no tenant is then not for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
    /// Only what is at least so grave.
    #[serde(default)]
    pub severity_min: Severity,
    /// Which team.
    pub team: String,
    /// By which connector.
    pub connector: String,
    /// In which words; in ours where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// What goes out together; each by itself where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gather: Option<Gather>,
    /// Whether events of one subject go out one after the other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ordered: bool,
    /// Whether it is not used for now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

impl Route {
    /// What is wrong with it first, apart from what it names.
    ///
    /// # Errors
    /// Where something is.
    pub fn check(&self) -> Result<(), String> {
        if self.events.is_empty() {
            return Err("`events` is empty: name at least one type, or `*`".into());
        }
        for pattern in &self.events {
            if !EventType::ALL.iter().any(|known| matches(pattern, known.code())) {
                return Err(format!(
                    "`events`: there is no type `{pattern}`: `GET /v1/event-types` lists them; \
                     `promotion.*` and `*` stand for several"
                ));
            }
        }
        self.gather.as_ref().map_or(Ok(()), Gather::check)
    }

    /// Whether it is about events of a type.
    #[must_use]
    pub fn names(&self, event_type: EventType) -> bool {
        // A test goes where whoever sends it says, and nowhere else.
        event_type != EventType::ConnectorTest
            && event_type.severity() >= self.severity_min
            && self.events.iter().any(|pattern| matches(pattern, event_type.code()))
    }

    fn takes(&self, notice: &Notice) -> bool {
        !self.paused && self.names(notice.event_type)
    }
}

fn matches(pattern: &str, code: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(start) => start.ends_with('.') && code.starts_with(start),
        None => pattern == code,
    }
}

/// Everything that says who is told of what.
#[derive(Debug, Clone, Default)]
pub struct Book {
    /// Destinations.
    pub connectors: BTreeMap<String, Connector>,
    /// Teams.
    pub teams: BTreeMap<String, Team>,
    /// Rules, in the order of their keys.
    pub routes: BTreeMap<String, Route>,
    /// Words.
    pub templates: BTreeMap<String, super::template::Template>,
}

/// A message to be sent: one notice's part in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// By which rule.
    pub route: String,
    /// To whom.
    pub team: String,
    /// By which connector.
    pub connector: String,
    /// In which words.
    pub template: Option<String>,
    /// Whether it goes after what came before about the same subject.
    pub is_ordered: bool,
    /// When it goes out at the earliest.
    pub due_at: Timestamp,
    /// Where it goes out with others: under which name, and until when others may join.
    pub bin: Option<(String, Timestamp)>,
}

impl Book {
    /// To whom a notice goes. `is_for` says whether a rule is for its tenant. A connector gets a
    /// notice once: by the first rule that sends it there.
    pub fn route(
        &self,
        notice: &Notice,
        is_for: impl Fn(&str) -> bool,
        now: Timestamp,
    ) -> Vec<Dispatch> {
        let mut used = BTreeSet::new();
        let mut all = Vec::new();
        for (key, route) in &self.routes {
            let is_taken = route.takes(notice) && (route.audience.is_none() || is_for(key));
            let parts = self.teams.get(&route.team).zip(self.connectors.get(&route.connector));
            let Some((team, connector)) = parts.filter(|_| is_taken) else { continue };
            if !connector.enabled || !used.insert(&route.connector) {
                continue;
            }
            let gather = route.gather.as_ref().filter(|_| connector.kind.gathers());
            let bin = gather.and_then(|gather| gather.bin(notice, team, now));
            let ready = bin.as_ref().map_or(now, |(_, until)| *until);
            let severity = notice.event_type.severity();
            let quiet = team.quiet_hours.as_ref();
            all.push(Dispatch {
                route: key.clone(),
                team: route.team.clone(),
                connector: route.connector.clone(),
                template: route.template.clone(),
                is_ordered: route.ordered || connector.kind.tracks(),
                due_at: quiet.map_or(ready, |quiet| quiet.not_before(severity, ready)),
                bin,
            });
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::notice::{ConnectorTrouble, Event, OverrideEdge};

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn quiet() -> QuietHours {
        QuietHours {
            time_zone: "Europe/Berlin".into(),
            work_from: "08:00".into(),
            work_until: "18:00".into(),
            days_off: weekend(),
            breaks: Severity::Critical,
        }
    }

    #[test]
    fn a_team_is_told_when_it_works() {
        for (now, told) in [
            // A Wednesday: at work, before, after.
            ("2026-03-04T10:00:00Z", "2026-03-04T10:00:00Z"),
            ("2026-03-04T06:59:59Z", "2026-03-04T07:00:00Z"),
            ("2026-03-04T17:00:00Z", "2026-03-05T07:00:00Z"),
            // Over the weekend in which summer time begins.
            ("2026-03-27T17:00:00Z", "2026-03-30T06:00:00Z"),
            ("2026-03-29T00:30:00Z", "2026-03-30T06:00:00Z"),
        ] {
            assert_eq!(quiet().not_before(Severity::Error, at(now)), at(told), "{now}");
            assert_eq!(quiet().not_before(Severity::Critical, at(now)), at(now), "{now}");
        }
    }

    #[test]
    fn what_is_gathered_goes_out_on_time() {
        let team = Team { name: "x".into(), members: BTreeSet::new(), quiet_hours: Some(quiet()) };
        let notice = notice("acme");
        let daily = |zone: Option<&str>| Gather::Daily {
            at: "08:00".into(),
            time_zone: zone.map(Into::into),
        };
        for (gather, now, until) in [
            (Gather::Hourly {}, "2026-03-04T10:00:00Z", "2026-03-04T11:00:00Z"),
            (Gather::Hourly {}, "2026-03-04T10:59:59.999999Z", "2026-03-04T11:00:00Z"),
            (daily(None), "2026-03-04T06:00:00Z", "2026-03-04T07:00:00Z"),
            (daily(None), "2026-03-04T07:00:00Z", "2026-03-05T07:00:00Z"),
            (daily(Some("Asia/Tokyo")), "2026-03-04T10:00:00Z", "2026-03-04T23:00:00Z"),
        ] {
            let (key, bin) = gather.bin(&notice, &team, at(now)).unwrap();
            assert_eq!((key.as_str(), bin), ("", at(until)), "{gather:?} at {now}");
        }
        let by_tenant = Gather::Seconds { count: 60, by: GatherBy::Tenant };
        let (key, until) = by_tenant.bin(&notice, &team, at("2026-03-04T10:00:00Z")).unwrap();
        assert_eq!((key.as_str(), until), ("acme", at("2026-03-04T10:01:00Z")));
    }

    fn notice(tenant: &str) -> Notice {
        let event = Event::OverrideEndsSoon(OverrideEdge {
            tenant: tenant.into(),
            tenant_name: tenant.into(),
            feature: "sso".into(),
            until: at("2026-03-09T00:00:00Z"),
            author: None,
            note: None,
        });
        let now = at("2026-03-04T10:00:00Z");
        Notice::new("evt_1".into(), "s", now, &event).unwrap().of_tenant(tenant)
    }

    fn book(routes: &str) -> Book {
        let hook = r#"{"name":"x","enabled":true,"kind":{"slack":{}}}"#;
        let jira = r#"{"name":"x","enabled":true,"kind":{"jira":{"url":"https://j.example",
            "flavor":"cloud","project":"ENT"}}}"#;
        let off = hook.replace("true", "false");
        let connectors = [("chat", hook), ("jira", jira), ("off", off.as_str())];
        Book {
            connectors: connectors
                .map(|(key, json)| (key.into(), serde_json::from_str(json).unwrap()))
                .into(),
            teams: [("ops", r#"{"name":"Ops"}"#)]
                .map(|(key, json)| (key.into(), serde_json::from_str(json).unwrap()))
                .into(),
            routes: serde_json::from_str(routes).unwrap(),
            templates: BTreeMap::new(),
        }
    }

    fn told(routes: &str, notice: &Notice) -> Vec<String> {
        let book = book(routes);
        book.routes.values().for_each(|route| route.check().unwrap());
        let is_for =
            |route: &str| route.contains("vip") && notice.tenant.as_deref() == Some("acme");
        let all = book.route(notice, is_for, at("2026-03-04T10:00:00Z"));
        all.into_iter().map(|to| format!("{}>{}", to.route, to.connector)).collect()
    }

    #[test]
    fn a_rule_takes_what_it_names_and_each_connector_is_told_once() {
        let all = r#"{
            "a-none": {"events":["promotion.*"],"team":"ops","connector":"chat"},
            "b-grave": {"events":["*"],"severity_min":"error","team":"ops","connector":"jira"},
            "c-off": {"events":["*"],"team":"ops","connector":"off"},
            "d-paused": {"events":["*"],"team":"ops","connector":"jira","paused":true},
            "e-first": {"events":["override.*"],"team":"ops","connector":"chat"},
            "f-twice": {"events":["*"],"team":"ops","connector":"chat"},
            "g-vip": {"events":["override.ends_soon"],"team":"ops","connector":"jira",
                      "audience":{"country":["DE"]}}}"#;
        assert_eq!(told(all, &notice("acme")), ["e-first>chat", "g-vip>jira"]);
        assert_eq!(told(all, &notice("other")), ["e-first>chat"]);
        let trouble = ConnectorTrouble { connector: "x".into(), why: "410".into() };
        let event = Event::ConnectorDisabled(trouble);
        let grave = Notice::new("evt_2".into(), "s", at("2026-03-04T10:00:00Z"), &event).unwrap();
        assert_eq!(told(all, &grave), ["b-grave>jira", "f-twice>chat"]);
        assert_eq!(told("{}", &grave), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_with_a_rule_or_team_is_said() {
        let route = |json: &str| serde_json::from_str::<Route>(json).unwrap().check().unwrap_err();
        let base = r#""team":"t","connector":"c""#;
        assert!(route(&format!(r#"{{"events":[],{base}}}"#)).contains("`events` is empty"));
        for pattern in ["promotion", "promo*", "nothing.*", "promotion.began"] {
            let error = route(&format!(r#"{{"events":["{pattern}"],{base}}}"#));
            assert!(error.contains(&format!("`{pattern}`")), "{error}");
        }
        let gather = |json: &str| route(&format!(r#"{{"events":["*"],{base},"gather":{json}}}"#));
        assert!(gather(r#"{"seconds":{"count":0}}"#).contains("1 to 86400"));
        assert!(gather(r#"{"daily":{"at":"25:00"}}"#).contains("`25:00`"));
        assert!(gather(r#"{"daily":{"at":"8:00","time_zone":"Mars"}}"#).contains("`Mars`"));
        for (change, said) in [
            (r#""time_zone":"Mars","work_from":"08:00","work_until":"18:00""#, "`Mars`"),
            (r#""time_zone":"UTC","work_from":"08:00","work_until":"08:00""#, "before it begins"),
            (
                r#""time_zone":"UTC","work_from":"08:00","work_until":"18:00",
                   "days_off":["mon","tue","wed","thu","fri","sat","sun"]"#,
                "leaves no day",
            ),
        ] {
            let json = format!(r#"{{"name":"x","quiet_hours":{{{change}}}}}"#);
            let error = serde_json::from_str::<Team>(&json).unwrap().check().unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
