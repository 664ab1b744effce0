//! Scenarios: what is expected of a catalog, in the file that holds it.
//!
//! They are this project's own tests of the rules, a vendor's regression tests of its catalog, and
//! examples that can be read.

use std::{fmt, sync::Arc};

use crate::{
    Reason, Revision, Snapshot, Timestamp,
    document::{Document, DocumentError, Expectation},
};

/// What became of the expectations of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// One for each expectation, in their order.
    pub outcomes: Vec<Outcome>,
}

/// What became of one expectation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What was expected.
    pub expectation: Expectation,
    /// The answer there was.
    pub answer: String,
    /// Why.
    pub reason: Reason,
    /// What it rests on.
    pub source: Option<String>,
    /// Whether all that was expected is so.
    pub passed: bool,
}

/// Checks a document and asks all it expects. Each answer is asked for twice, prepared and from the
/// facts, and must be the same.
///
/// # Errors
/// Where the catalog or a tenant is wrong: every problem at once.
pub fn run(document: &Document) -> Result<Report, DocumentError> {
    let catalog = Arc::new(document.check()?);
    let outcome = |expectation: &Expectation| {
        let compile = |at| Snapshot::compile(Revision(1), catalog.clone(), &document.tenants, at);
        let prepared = answer(&compile(expectation.at), expectation);
        let exact = answer(&compile(Timestamp::MAX), expectation);
        if prepared.passed { exact } else { prepared }
    };
    Ok(Report { outcomes: document.expect.iter().map(outcome).collect() })
}

fn answer(snapshot: &Snapshot, expectation: &Expectation) -> Outcome {
    let Expectation { tenant, feature, at, .. } = expectation;
    let decision = snapshot.check(tenant.as_str(), feature.as_str(), *at);
    let source = decision.source().map(|source| source.to_string());
    let passed = expectation.answer.matches(decision.verdict())
        && expectation.reason.is_none_or(|reason| reason == decision.reason())
        && expectation.source.as_ref().is_none_or(|expected| Some(expected) == source.as_ref());
    Outcome {
        expectation: expectation.clone(),
        answer: decision.verdict().to_string(),
        reason: decision.reason(),
        source,
        passed,
    }
}

impl Report {
    /// Those that are not as expected.
    pub fn failures(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| !outcome.passed)
    }

    /// Whether all are as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in self.failures() {
            writeln!(f, "{failure}")?;
        }
        let failed = self.failures().count();
        write!(f, "{} passed, {failed} failed", self.outcomes.len() - failed)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Expectation { at, tenant, feature, answer, reason, source, note } = &self.expectation;
        let tell = |f: &mut fmt::Formatter<'_>,
                    answer: &str,
                    reason: Option<Reason>,
                    source: Option<&str>| {
            f.write_str(answer)?;
            reason.map_or(Ok(()), |reason| write!(f, ", {reason}"))?;
            source.map_or(Ok(()), |source| write!(f, ", {source}"))
        };
        let mark = if self.passed { "ok  " } else { "FAIL" };
        write!(f, "{mark} {at} {tenant} {feature}: ")?;
        tell(f, &self.answer, Some(self.reason), self.source.as_deref())?;
        if !self.passed {
            f.write_str("; expected ")?;
            tell(f, &answer.to_string(), *reason, source.as_deref())?;
        }
        note.as_ref().map_or(Ok(()), |note| write!(f, " ({note})"))
    }
}
