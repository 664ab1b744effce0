//! How long requests may take: clocks, why one was late, what another calendar would do, reports.

use std::collections::BTreeMap;

use axum::{
    Extension,
    extract::{Request, State},
    http::StatusCode,
    response::IntoResponse,
};
use entitlements_core::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    body::{self, BYTES_MAX},
    download::download,
    extract::{Params, Segments},
    problem::{Code, Problem},
    reply::{self, Reply},
};
use crate::{
    app::{App, CalendarEffect, Call, Command, KeptPromise},
    store::Tally,
    workflow::{
        civil::zones_version,
        request::Promise,
        sla::{ClockState, SpanWhy, WorkWeek},
    },
};

/// A promise, and how far it is.
#[derive(Serialize, JsonSchema)]
struct PromiseShown {
    /// What was promised.
    #[serde(flatten)]
    promise: Promise,
    /// How far it is; absent before it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<ClockShown>,
    /// Every minute of it, with why it counts or does not.
    minutes: Vec<SpanShown>,
}

/// How far a promise is.
#[derive(Serialize, JsonSchema)]
struct ClockShown {
    state: ClockState,
    started_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    /// How much work it may take, in seconds.
    target_s: u64,
    /// How much has gone by, in seconds.
    used_s: u64,
    /// How much is left, in seconds.
    left_s: u64,
    /// How much has gone by, in percent.
    percent: u64,
    /// When it would have been over as it looked at its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at_first: Option<Timestamp>,
    /// When it is over, or was; absent while it is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    /// When it was over without an end.
    #[serde(skip_serializing_if = "Option::is_none")]
    breached_at: Option<Timestamp>,
    /// Whether the requester is asked for something.
    is_paused: bool,
    /// Whether work is done now.
    is_open: bool,
}

/// A part of the time with one reason.
#[derive(Serialize, JsonSchema)]
struct SpanShown {
    from: Timestamp,
    until: Timestamp,
    why: SpanWhy,
}

impl From<KeptPromise> for PromiseShown {
    fn from(kept: KeptPromise) -> Self {
        let clock = kept.clock.map(|clock| ClockShown {
            state: clock.state,
            started_at: clock.started_at,
            ended_at: clock.ended_at,
            target_s: clock.target.as_secs(),
            used_s: clock.used.as_secs(),
            left_s: clock.left().as_secs(),
            percent: clock.percent(),
            due_at_first: clock.due_at_first,
            due_at: clock.due_at,
            breached_at: clock.breached_at,
            is_paused: clock.state == ClockState::Paused,
            is_open: clock.is_open,
        });
        let spans = kept.spans.into_iter();
        let minutes = spans
            .map(|span| SpanShown { from: span.from, until: span.until, why: span.why })
            .collect();
        Self { promise: kept.promise, clock, minutes }
    }
}

/// The promises of a request.
#[derive(Serialize, JsonSchema)]
pub(super) struct Promises {
    /// The instant that they are worked out for.
    at: Timestamp,
    /// The version of the zone database that they are worked out with.
    zones: &'static str,
    promises: Vec<PromiseShown>,
}

/// The promises of a request, with every minute of them.
pub(super) async fn promises(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
) -> Reply {
    let kept = app.request(&call, &id).await?;
    let promises = app.promises_of(&kept.record).await?.into_iter().map(Into::into).collect();
    let shown = Promises { at: app.now(), zones: zones_version(), promises };
    reply::json(StatusCode::OK, kept.revision, &shown)
}

/// Why a promise was not kept.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    /// Why, such as `the partner did not answer`.
    reason: String,
}

/// Says why a promise was not kept.
pub(super) async fn explain_breach(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments((id, metric)): Segments<(String, String)>,
    request: Request,
) -> Reply {
    let Reason { reason } = body::read(request, BYTES_MAX).await?;
    // To whom the request does not exist, its promises do not either.
    app.request(&call, &id).await?;
    let outcome = app.execute(call, Command::ExplainBreach { id, metric, reason }).await?;
    reply::committed(&outcome, false)
}

/// Hours to try out.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Trial {
    /// The hours.
    week: WorkWeek,
}

/// What other hours would do to one promise.
#[derive(Serialize, JsonSchema)]
struct MoveShown {
    request: String,
    metric: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_be: Option<Timestamp>,
}

/// What other hours would do.
#[derive(Serialize, JsonSchema)]
pub(super) struct CalendarPreview {
    /// How many promises would be due at another instant.
    moved: usize,
    /// How many would be late that are not.
    late_then: usize,
    /// How many would be late no more.
    late_no_more: usize,
    /// Whether there are more than were looked at.
    is_more: bool,
    /// The first of them.
    sample: Vec<MoveShown>,
}

/// How many promises are shown.
const SAMPLE_MAX: usize = 50;

/// Says what other hours would do to what is promised now.
pub(super) async fn preview_calendar(
    State(app): State<App>,
    Segments(key): Segments<String>,
    request: Request,
) -> Reply {
    let Trial { week } = body::read(request, BYTES_MAX).await?;
    let (effects, is_more) = app.calendar_effect(&key, week).await?;
    let late = |is: fn(&CalendarEffect) -> bool| effects.iter().filter(|it| is(it)).count();
    let late_then = late(|it| !it.is_late && it.would_be_late);
    let late_no_more = late(|it| it.is_late && !it.would_be_late);
    let moved = effects.len();
    let sample = effects.into_iter().take(SAMPLE_MAX).map(|it| MoveShown {
        request: it.request,
        metric: it.metric,
        due_at: it.due_at,
        would_be: it.would_be,
    });
    let sample = sample.collect();
    let shown = CalendarPreview { moved, late_then, late_no_more, is_more, sample };
    reply::json(StatusCode::OK, app.revision(), &shown)
}

/// By what a report is grouped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum By {
    /// By listing.
    #[default]
    Listing,
    /// By team.
    Team,
    /// By partner.
    Partner,
    /// By priority.
    Priority,
    /// By the month in which the clocks began, by UTC.
    Month,
}

/// Which report.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ReportQuery {
    /// By what it is grouped.
    by: By,
    /// From this month on, such as `2026-01`.
    from: String,
    /// Up to this month, such as `2026-03`.
    until: String,
}

/// How the promises of one sort were kept.
#[derive(Serialize, JsonSchema, Default)]
struct ReportRow {
    /// What they have in common; empty where they have none of it.
    group: String,
    /// What was promised.
    metric: String,
    /// How many were kept.
    met: u64,
    /// How many were not.
    missed: u64,
    /// How many are waited for.
    open: u64,
    /// How many of those are late already.
    open_late: u64,
    /// How many nobody waits for any more.
    cancelled: u64,
    /// How many of those that came to an end, or are late, were kept, in percent; absent where there
    /// are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    attained_percent: Option<f64>,
    /// How much work those took that came to an end, on average, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_s: Option<u64>,
}

/// How promises were kept.
#[derive(Serialize, JsonSchema)]
pub(super) struct Report {
    rows: Vec<ReportRow>,
}

/// How promises were kept.
pub(super) async fn report(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Params(query): Params<ReportQuery>,
) -> Reply {
    let rows = rows(&app, &call, &query).await?;
    reply::json(StatusCode::OK, app.revision(), &Report { rows })
}

/// The same, for a spreadsheet.
pub(super) async fn report_csv(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Params(query): Params<ReportQuery>,
) -> Reply {
    let rows = rows(&app, &call, &query).await?;
    let response = download("text/csv; charset=utf-8", "sla.csv", move |lines| {
        lines.row(&[
            "group",
            "metric",
            "met",
            "missed",
            "open",
            "open_late",
            "cancelled",
            "attained_percent",
            "mean_s",
        ])?;
        for row in &rows {
            let numbers = [row.met, row.missed, row.open, row.open_late, row.cancelled];
            let mut cells = vec![row.group.clone(), row.metric.clone()];
            cells.extend(numbers.map(|number| number.to_string()));
            cells.push(row.attained_percent.map(|it| it.to_string()).unwrap_or_default());
            cells.push(row.mean_s.map(|it| it.to_string()).unwrap_or_default());
            lines.row(&cells.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        Ok(())
    });
    Ok(response.into_response())
}

async fn rows(app: &App, call: &Call, query: &ReportQuery) -> Result<Vec<ReportRow>, Problem> {
    let month = |name: &str, text: &str, other: &str| match text {
        "" => Ok(other.to_owned()),
        text if is_month(text) => Ok(text.to_owned()),
        text => {
            let detail = format!("`{name}={text}` is no month: write it as `2026-03`");
            Err(Problem::new(Code::InvalidRequest, detail))
        }
    };
    let (from, until) =
        (month("from", &query.from, "0")?, month("until", &query.until, "9999-99")?);
    let tally = app.sla_tally(call, from, until).await?;
    Ok(grouped(query.by, &tally))
}

fn is_month(text: &str) -> bool {
    let digits =
        |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let found = text.split_once('-');
    found.is_some_and(|(year, month)| {
        digits(year, 4) && digits(month, 2) && matches!(month.parse(), Ok(1..=12))
    })
}

fn grouped(by: By, tally: &[Tally]) -> Vec<ReportRow> {
    let mut groups: BTreeMap<(&str, &str), (ReportRow, u64)> = BTreeMap::new();
    for one in tally {
        let group = match by {
            By::Listing => &one.listing,
            By::Team => &one.team,
            By::Partner => &one.partner,
            By::Priority => &one.priority,
            By::Month => &one.month,
        };
        let (row, used_us) = groups.entry((group, &one.metric)).or_default();
        match one.state.as_str() {
            "met" => row.met += one.count,
            "missed" => row.missed += one.count,
            "cancelled" => row.cancelled += one.count,
            _ => {
                row.open += one.count;
                row.open_late += if one.is_late { one.count } else { 0 };
            }
        }
        if matches!(one.state.as_str(), "met" | "missed") {
            *used_us += one.used_us;
        }
    }
    let rows = groups.into_iter().map(|((group, metric), (row, used_us))| {
        let ended = row.met + row.missed;
        let judged = ended + row.open_late;
        // To a tenth of a percent.
        let tenths = |met: u64| (met * 1_000).checked_div(judged);
        ReportRow {
            group: group.into(),
            metric: metric.into(),
            attained_percent: tenths(row.met).map(|tenths| tenths as f64 / 10.0),
            mean_s: used_us.checked_div(ended).map(|mean| mean / 1_000_000),
            ..row
        }
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(listing: &str, month: &str, state: &str, is_late: bool, count: u64) -> Tally {
        Tally {
            month: month.into(),
            listing: listing.into(),
            team: String::new(),
            partner: String::new(),
            priority: "normal".into(),
            metric: "approval".into(),
            state: state.into(),
            is_late,
            count,
            used_us: 60_000_000 * count,
        }
    }

    #[test]
    fn what_is_late_and_still_open_was_not_kept() {
        let all = [
            tally("sms", "2026-03", "met", false, 7),
            tally("sms", "2026-04", "missed", true, 2),
            tally("sms", "2026-04", "running", true, 1),
            tally("sms", "2026-04", "paused", false, 5),
            tally("fax", "2026-04", "cancelled", false, 1),
        ];
        let rows = grouped(By::Listing, &all);
        let sms = rows.iter().find(|row| row.group == "sms").unwrap();
        assert_eq!((sms.met, sms.missed, sms.open, sms.open_late), (7, 2, 6, 1));
        assert_eq!((sms.attained_percent, sms.mean_s), (Some(70.0), Some(60)));
        let fax = rows.iter().find(|row| row.group == "fax").unwrap();
        assert_eq!((fax.cancelled, fax.attained_percent, fax.mean_s), (1, None, None));
        assert_eq!(grouped(By::Month, &all).len(), 2);
    }

    #[test]
    fn a_month_is_written_in_one_way() {
        assert!(is_month("2026-03") && is_month("0001-12"));
        for text in ["2026-3", "2026-13", "2026-00", "26-03", "2026/03", "2026-03-01", "x"] {
            assert!(!is_month(text), "{text}");
        }
    }
}
