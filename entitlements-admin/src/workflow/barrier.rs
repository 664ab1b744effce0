//! A publication that all sidecars switch to at one instant, or none.
//!
//! First every live sidecar prepares the candidate: it verifies, compiles and writes it. When all
//! have, or the share that is asked for, the draft is published with an instant in the near future,
//! at which each of them switches by itself. When one rejects, or time runs out, nobody switches.

use std::time::Duration;

use entitlements_core::{Draft, Timestamp};
use serde::{Deserialize, Serialize};

use super::fleet::Member;

/// The longest that sidecars may take to prepare, in seconds.
pub const DEADLINE_S_MAX: u64 = 600;
/// How long they may take where nobody says, in seconds.
pub const DEADLINE_S: u64 = 30;
/// Between the word that all switch and the switch, beside what a silent sidecar needs to notice.
const LEAD: Duration = Duration::from_millis(500);

/// A barrier as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Barrier {
    /// What sidecars call the candidate.
    pub id: String,
    /// The draft that is to be published.
    pub draft: String,
    /// Who asked for it.
    pub started_by: String,
    /// When.
    pub started_at: Timestamp,
    /// When sidecars must have prepared it.
    pub deadline: Timestamp,
    /// Which part of the live sidecars must have, in percent.
    pub quorum_percent: u8,
    /// How far it has come.
    pub stage: Stage,
    /// What was the catalog then.
    pub catalog: Draft,
}

/// How far a barrier has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Stage {
    /// Sidecars prepare.
    Preparing {},
    /// All switch at an instant.
    Committed {
        /// When.
        activate_at: Timestamp,
    },
    /// Nobody switches.
    Aborted {
        /// Why.
        reason: String,
    },
}

impl Stage {
    /// The stable word for it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Preparing {} => "preparing",
            Self::Committed { .. } => "committed",
            Self::Aborted { .. } => "aborted",
        }
    }
}

/// What is to be done about a barrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Some have not prepared, and there is time.
    Wait,
    /// All switch.
    Commit {
        /// When.
        activate_at: Timestamp,
    },
    /// Nobody switches.
    Abort {
        /// Why.
        reason: String,
    },
}

/// What is to be done, given what sidecars said by now.
///
/// `silence_max` is for how long one that has prepared calls itself fresh without hearing from us:
/// whoever misses the word knows by the instant of the switch that it missed something.
#[must_use]
pub fn decide(
    barrier: &Barrier,
    members: &[Member],
    silence_max: Duration,
    now: Timestamp,
) -> Decision {
    let id = &barrier.id;
    let live: Vec<&Member> = members.iter().filter(|member| member.is_live(now)).collect();
    if let Some((member, why)) =
        live.iter().find_map(|member| Some((member, member.rejection(id)?)))
    {
        let reason = format!("sidecar `{}` cannot serve it: {why}", member.report.sidecar);
        return Decision::Abort { reason };
    }
    let (ready, behind): (Vec<&Member>, Vec<&Member>) =
        live.iter().partition(|member| member.has_prepared(id));
    let is_late = now >= barrier.deadline;
    let needed = live.len() * usize::from(barrier.quorum_percent);
    let is_enough = ready.len() * 100 >= needed;
    if behind.is_empty() || (is_late && is_enough) {
        // One that has not prepared may call itself fresh for longer after it last heard from us.
        let patience = behind.iter().map(|member| member.fresh_for()).max();
        let silence = patience.unwrap_or_default().max(silence_max);
        return Decision::Commit { activate_at: now.plus(silence + LEAD) };
    }
    if !is_late {
        return Decision::Wait;
    }
    let names: Vec<String> =
        behind.iter().take(5).map(|member| format!("`{}`", member.report.sidecar)).collect();
    let reason = format!(
        "time ran out: {} of {} live sidecars had prepared it; still missing: {}",
        ready.len(),
        live.len(),
        names.join(", ")
    );
    Decision::Abort { reason }
}

#[cfg(test)]
mod tests {
    use super::{super::fleet::tests::member, *};
    use entitlements_core::document::CandidateStatus;

    const SILENCE: Duration = Duration::from_secs(2);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn barrier(quorum_percent: u8) -> Barrier {
        Barrier {
            id: "b1".into(),
            draft: "d".into(),
            started_by: "user:ada".into(),
            started_at: at(0),
            deadline: at(30),
            quorum_percent,
            stage: Stage::Preparing {},
            catalog: Draft::default(),
        }
    }

    /// `p` has prepared, `r` has rejected, `o` prepared another one, `-` said nothing, `x` has no
    /// lease any more.
    fn fleet(letters: &str) -> Vec<Member> {
        let one = |(place, letter): (usize, char)| {
            let heard = if letter == 'x' { at(-100) } else { at(0) };
            let mut member = member(&format!("s{place}"), 1, heard);
            let told = |id: &str, rejected: Option<&str>| {
                Some(CandidateStatus { id: id.into(), rejected: rejected.map(Into::into) })
            };
            member.report.candidate = match letter {
                'p' => told("b1", None),
                'r' => told("b1", Some("it is too large")),
                'o' => told("b0", Some("old")),
                _ => None,
            };
            member
        };
        letters.chars().enumerate().map(one).collect()
    }

    fn what(letters: &str, quorum: u8, now: i64) -> String {
        match decide(&barrier(quorum), &fleet(letters), SILENCE, at(now)) {
            Decision::Wait => "wait".into(),
            Decision::Commit { activate_at } => {
                format!("commit in {} ms", activate_at.since(at(now)).as_millis())
            }
            Decision::Abort { reason } => format!("abort: {reason}"),
        }
    }

    #[test]
    fn all_switch_or_none() {
        let rows = [
            ("", 100, 0, "commit in 2500 ms"),
            ("ppppp", 100, 0, "commit in 2500 ms"),
            ("pppp-", 100, 0, "wait"),
            ("ppppo", 100, 29, "wait"),
            ("ppppr", 100, 0, "abort: sidecar `s4` cannot serve it: it is too large"),
            ("ppppx", 100, 0, "commit in 2500 ms"),
            (
                "pppp-",
                100,
                30,
                "abort: time ran out: 4 of 5 live sidecars had prepared it; still missing: `s4`",
            ),
            // With a share, whoever is missing must first know itself that it is stale.
            ("pppp-", 80, 0, "wait"),
            ("pppp-", 80, 30, "commit in 30500 ms"),
            (
                "ppp--",
                80,
                30,
                "abort: time ran out: 3 of 5 live sidecars had prepared it; still missing: `s3`, \
                 `s4`",
            ),
            ("pppr-", 60, 0, "abort: sidecar `s3` cannot serve it: it is too large"),
        ];
        for (letters, quorum, now, expected) in rows {
            assert_eq!(what(letters, quorum, now), expected, "{letters} {quorum} % at {now} s");
        }
    }
}
