//! Instants and windows. Nothing here reads a clock: time is always handed in.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

/// An instant, exact to the microsecond.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Before every other instant: the start of a window without a start.
    pub const MIN: Self = Self(i64::MIN);
    /// After every other instant: the end of a window without an end.
    pub const MAX: Self = Self(i64::MAX);

    /// From microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Later by so much. Saturates at [`Timestamp::MAX`].
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Earlier by so much. Saturates at [`Timestamp::MIN`].
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero where it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads RFC 3339 text such as `2026-03-01T00:00:00Z` or `2026-03-01T00:00:00+01:00`.
    ///
    /// # Errors
    /// Where the text is no such instant, or one between two microseconds.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let instant: jiff::Timestamp =
            text.parse().map_err(|error: jiff::Error| TimeError::new(text, &error.to_string()))?;
        Self::from_jiff(instant).ok_or_else(|| {
            TimeError::new(text, "instants are exact to the microsecond: give at most six decimals")
        })
    }

    fn from_jiff(instant: jiff::Timestamp) -> Option<Self> {
        (instant.subsec_nanosecond() % 1_000 == 0).then(|| Self(instant.as_microsecond()))
    }

    fn to_jiff(self) -> Option<jiff::Timestamp> {
        jiff::Timestamp::from_microsecond(self.0).ok()
    }

    /// As RFC 3339 text in the given zone (UTC where there is none or it is not known).
    #[must_use]
    pub fn to_text(self, zone: Option<&str>) -> String {
        let Some(instant) = self.to_jiff() else {
            return if self.0 < 0 { "-infinity".into() } else { "+infinity".into() };
        };
        match zone.and_then(|zone| jiff::tz::TimeZone::get(zone).ok()) {
            None => instant.to_string(),
            Some(zone) => instant.display_with_offset(zone.to_offset(instant)).to_string(),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text(None))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Timestamp {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        Self::parse(text)
    }
}

/// What the operating system calls now, cut to the microsecond.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => Self(0).plus(after),
            Err(before) => Self(0).minus(before.duration()),
        }
    }
}

/// Why a text is no instant, or two instants are no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a time: {why}")]
pub struct TimeError {
    text: String,
    why: String,
}

impl TimeError {
    fn new(text: &str, why: &str) -> Self {
        Self { text: text.into(), why: why.into() }
    }
}

/// A half-open stretch of time, `[from, until)`. Either end may be absent.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "WindowText", into = "WindowText")
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(with = "WindowText"))]
pub struct Window {
    /// The first instant inside.
    pub from: Option<Timestamp>,
    /// The first instant after it that is outside again.
    pub until: Option<Timestamp>,
    /// The zone in which people entered it. It decides nothing; it is how they read it again.
    pub zone: Option<Arc<str>>,
}

impl Window {
    /// Every instant.
    pub const ALWAYS: Self = Self { from: None, until: None, zone: None };

    /// From one instant to just before another.
    #[must_use]
    pub const fn new(from: Option<Timestamp>, until: Option<Timestamp>) -> Self {
        Self { from, until, zone: None }
    }

    /// Whether an instant is inside.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start() <= at && at < self.end()
    }

    /// Whether the two share an instant.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start() < other.end() && other.start() < self.end()
    }

    /// Its start, [`Timestamp::MIN`] where it has none.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        self.from.unwrap_or(Timestamp::MIN)
    }

    /// Its end, [`Timestamp::MAX`] where it has none.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        self.until.unwrap_or(Timestamp::MAX)
    }

    /// Whether it contains no instant at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start() >= self.end()
    }

    /// Whether it contains every instant.
    #[must_use]
    pub fn is_always(&self) -> bool {
        self.from.is_none() && self.until.is_none()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text =
            |end: Option<Timestamp>| end.map_or("..".into(), |at| at.to_text(self.zone.as_deref()));
        write!(f, "{}/{}", text(self.from), text(self.until))
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes a clock that may jump back into one that does not.
///
/// Within one process an ended grant must not come back because somebody set the clock. Hand every
/// reading to [`Ratchet::advance`] and use what it returns.
#[derive(Debug)]
pub struct Ratchet(AtomicI64);

impl Ratchet {
    /// Starts no earlier than `floor`.
    #[must_use]
    pub const fn new(floor: Timestamp) -> Self {
        Self(AtomicI64::new(floor.0))
    }

    /// The reading, or the latest one before it where that was later.
    pub fn advance(&self, reading: Timestamp) -> Timestamp {
        let before = self.0.fetch_max(reading.0, Ordering::Relaxed);
        Timestamp(before.max(reading.0))
    }
}

#[cfg(feature = "document")]
mod text {
    //! How instants and windows are written in documents.

    use super::{Arc, TimeError, Timestamp, Window, fmt};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    impl Serialize for Timestamp {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    impl<'de> Deserialize<'de> for Timestamp {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = deserializer.deserialize_any(TimeText)?;
            instant(&text, None).map_err(de::Error::custom)
        }
    }

    #[cfg(feature = "schema")]
    impl schemars::JsonSchema for Timestamp {
        fn schema_name() -> std::borrow::Cow<'static, str> {
            "Timestamp".into()
        }
        fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
            schemars::json_schema!({
                "type": "string",
                "description": "An instant as RFC 3339 text, such as `2026-03-01T00:00:00Z`. \
                    Without an offset it is read in the window's zone, or in UTC.",
            })
        }
    }

    /// A window as people write it.
    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[serde(deny_unknown_fields)]
    pub(super) struct WindowText {
        /// The first instant inside. Absent: since ever.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "time_text")]
        from: Option<String>,
        /// The first instant after it that is outside again. Absent: for ever.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "time_text")]
        until: Option<String>,
        /// The IANA name of the zone in which `from` and `until` are meant, such as `Europe/Berlin`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<Arc<str>>,
    }

    impl TryFrom<WindowText> for Window {
        type Error = TimeError;

        fn try_from(text: WindowText) -> Result<Self, TimeError> {
            let zone = text.zone.as_deref().map(zone_named).transpose()?;
            let read =
                |end: Option<String>| end.map(|end| instant(&end, zone.as_ref())).transpose();
            let (from, until) = (read(text.from)?, read(text.until)?);
            // Without an instant there is nothing to read in a zone, and `ALWAYS` is written as nothing.
            let zone = text.zone.filter(|_| from.is_some() || until.is_some());
            let window = Self { from, until, zone };
            if window.is_empty() {
                return Err(TimeError::new(
                    &window.to_string(),
                    "a window must end after it starts",
                ));
            }
            Ok(window)
        }
    }

    impl From<Window> for WindowText {
        fn from(window: Window) -> Self {
            let text = |end: Option<Timestamp>| end.map(|at| at.to_text(window.zone.as_deref()));
            Self { from: text(window.from), until: text(window.until), zone: window.zone.clone() }
        }
    }

    fn zone_named(name: &str) -> Result<jiff::tz::TimeZone, TimeError> {
        jiff::tz::TimeZone::get(name).map_err(|_| {
            TimeError::new(name, "it is no IANA time zone; write one such as `Europe/Berlin`")
        })
    }

    /// Reads an instant; civil time is meant in the zone, or in UTC. A civil time that the zone
    /// skips or repeats is refused with the instants to choose from.
    fn instant(text: &str, zone: Option<&jiff::tz::TimeZone>) -> Result<Timestamp, TimeError> {
        let bare = text.split_once('[').map_or(text, |(bare, _)| bare);
        let has_offset = bare.ends_with(['Z', 'z'])
            || bare.find(['T', 't', ' ']).is_some_and(|t| bare[t..].contains(['+', '-']));
        if has_offset {
            return Timestamp::parse(text);
        }
        let civil: jiff::civil::DateTime =
            text.parse().map_err(|error: jiff::Error| TimeError::new(text, &error.to_string()))?;
        let zone = zone.cloned().unwrap_or(jiff::tz::TimeZone::UTC);
        let ambiguous = zone.to_ambiguous_zoned(civil);
        if ambiguous.is_ambiguous() {
            let choices = [ambiguous.clone().earlier(), ambiguous.later()].map(|choice| {
                choice.map_or_else(
                    |error| error.to_string(),
                    |zoned| zoned.timestamp().display_with_offset(zoned.offset()).to_string(),
                )
            });
            let why = format!(
                "clocks change here, so it means no single instant; write `{}` or `{}`",
                choices[0], choices[1]
            );
            return Err(TimeError::new(text, &why));
        }
        let zoned =
            ambiguous.unambiguous().map_err(|error| TimeError::new(text, &error.to_string()))?;
        Timestamp::from_jiff(zoned.timestamp()).ok_or_else(|| {
            TimeError::new(text, "instants are exact to the microsecond: give at most six decimals")
        })
    }

    fn time_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
        deserializer.deserialize_any(TimeText).map(Some)
    }

    /// Accepts a string, and TOML's own dates and times.
    struct TimeText;

    impl<'de> de::Visitor<'de> for TimeText {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a time such as `2026-03-01T00:00:00Z`")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
            Ok(text.into())
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<String, A::Error> {
            let value =
                toml::value::Datetime::deserialize(de::value::MapAccessDeserializer::new(map))?;
            Ok(value.to_string())
        }
    }
}
#[cfg(feature = "document")]
use text::WindowText;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_window_is_half_open_to_the_microsecond() {
        let window =
            Window::new(Some(at("2026-03-01T00:00:00Z")), Some(at("2026-04-01T00:00:00Z")));
        let micro = Duration::from_micros(1);
        assert!(!window.contains(window.start().minus(micro)));
        assert!(window.contains(window.start()));
        assert!(window.contains(window.end().minus(micro)));
        assert!(!window.contains(window.end()));
    }

    #[test]
    fn time_finer_than_a_microsecond_is_refused() {
        assert!(Timestamp::parse("2026-03-01T00:00:00.123456Z").is_ok());
        let error = Timestamp::parse("2026-03-01T00:00:00.1234567Z").unwrap_err().to_string();
        assert!(error.contains("microsecond"), "{error}");
    }

    #[test]
    fn a_ratchet_never_goes_back() {
        let ratchet = Ratchet::new(Timestamp::MIN);
        assert_eq!(ratchet.advance(Timestamp(5)), Timestamp(5));
        assert_eq!(ratchet.advance(Timestamp(3)), Timestamp(5));
        assert_eq!(ratchet.advance(Timestamp(9)), Timestamp(9));
    }

    #[cfg(feature = "document")]
    #[test]
    fn civil_time_is_read_in_its_zone_and_written_back_in_it() {
        let window: Window = toml::from_str(
            "from = 2026-03-01\nuntil = 2026-04-01T00:00:00\nzone = \"Europe/Berlin\"",
        )
        .unwrap();
        assert_eq!(window.from, Some(at("2026-02-28T23:00:00Z")));
        assert_eq!(window.until, Some(at("2026-03-31T22:00:00Z")));
        assert_eq!(window.to_string(), "2026-03-01T00:00:00+01:00/2026-04-01T00:00:00+02:00");
        let again: Window = serde_json::from_value(serde_json::to_value(&window).unwrap()).unwrap();
        assert_eq!(again, window);
    }

    #[cfg(feature = "document")]
    #[test]
    fn a_time_that_clocks_skip_or_repeat_is_refused_with_the_choices() {
        let read = |from: &str| {
            toml::from_str::<Window>(&format!("from = {from}\nzone = \"Europe/Berlin\""))
                .unwrap_err()
                .to_string()
        };
        let repeated = read("2026-10-25T02:30:00");
        assert!(repeated.contains("2026-10-25T02:30:00+02:00"), "{repeated}");
        assert!(repeated.contains("2026-10-25T02:30:00+01:00"), "{repeated}");
        assert!(read("2026-03-29T02:30:00").contains("clocks change here"));
    }

    #[cfg(feature = "document")]
    #[test]
    fn a_window_that_ends_before_it_starts_is_refused() {
        let error = toml::from_str::<Window>("from = 2026-03-02\nuntil = 2026-03-01").unwrap_err();
        assert!(error.to_string().contains("must end after it starts"), "{error}");
    }
}
