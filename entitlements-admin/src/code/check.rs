//! Whether catalogs are right, and answer as expected.

use std::path::{Path, PathBuf};

use entitlements_core::{
    document::{Document, DocumentError},
    scenario,
};

use super::folder;
use crate::cli::Failure;

/// Finds every mistake in catalogs.
pub(super) fn validate(paths: &[PathBuf]) -> Result<(), Failure> {
    let mut wrong = 0;
    for path in paths {
        let problems = problems_of(path);
        for problem in &problems {
            eprintln!("{problem}");
        }
        if problems.is_empty() {
            println!("{}: ok", path.display());
        }
        wrong += problems.len();
    }
    match wrong {
        0 => Ok(()),
        1 => Err(Failure::failed("1 problem found")),
        many => Err(Failure::failed(format!("{many} problems found"))),
    }
}

fn problems_of(path: &Path) -> Vec<String> {
    let document = match folder::parse(path) {
        Ok(document) => document,
        Err(failure) => return vec![failure.to_string()],
    };
    match document.and_then(|document| document.check()) {
        Ok(_) => Vec::new(),
        Err(DocumentError::Wrong(all)) => all.iter().map(ToString::to_string).collect(),
        Err(error) => vec![error.to_string()],
    }
}

/// Checks catalogs against the answers that are expected of them.
pub(crate) fn test(paths: &[PathBuf]) -> Result<(), Failure> {
    let mut failed = 0;
    for path in paths {
        failed += failures_of(path, &folder::read(path)?)?;
    }
    match failed {
        0 => Ok(()),
        1 => Err(Failure::failed("1 expectation was not met")),
        many => Err(Failure::failed(format!("{many} expectations were not met"))),
    }
}

/// Tells what is not as expected, and how much that is.
fn failures_of(path: &Path, document: &Document) -> Result<usize, Failure> {
    let report = scenario::run(document).map_err(Failure::failed)?;
    for ((place, _), outcome) in document.expectations().zip(&report.outcomes) {
        if !outcome.passed {
            println!("{place}: {outcome}");
        }
    }
    let (all, failed) = (report.outcomes.len(), report.failures().count());
    match all {
        0 => println!("{}: nothing is expected of it", path.display()),
        _ => println!("{}: {} passed, {failed} failed", path.display(), all - failed),
    }
    Ok(failed)
}
