//! What is wrong with a document, and where.

use std::fmt;

use crate::Problem;

/// Why a document cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// It cannot be read as TOML or JSON, or a value is not what was expected.
    #[error("{0}")]
    Syntax(Located),
    /// Its catalog or tenants are wrong, or several of its files cannot be read as one.
    #[error("{}", lines(.0))]
    Wrong(Vec<Located>),
    /// A snapshot document of a format that this version does not know.
    #[error(
        "the snapshot is of format {found} and this version reads up to {}; upgrade it first",
        super::FORMAT
    )]
    NewerFormat {
        /// The format it is of.
        found: u32,
    },
    /// A snapshot document that was cut off or changed.
    #[error("the snapshot document is damaged: {0}; fetch it again")]
    Damaged(&'static str),
    /// A change of another snapshot than the one that is there.
    #[error("the change is of another snapshot than the one that is there")]
    OtherBase,
    /// What came out is not what the publisher has.
    #[error("what came of it is not what the publisher has; all of it must be fetched again")]
    Diverged,
}

impl DocumentError {
    /// What is wrong, each with its place.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        match self {
            Self::Syntax(one) => vec![one.problem.clone()],
            Self::Wrong(all) => all.iter().map(|one| one.problem.clone()).collect(),
            Self::NewerFormat { .. } | Self::Damaged(_) | Self::OtherBase | Self::Diverged => {
                vec![Problem::new("", "damaged", self.to_string())]
            }
        }
    }
}

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The file's name.
    pub file: String,
    /// The line, from 1, where it can be had.
    pub line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// A problem in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, problem } = self;
        if problem.path.is_empty() || problem.path == "." {
            write!(f, "{place}: {}", problem.message)
        } else {
            write!(f, "{place}: {problem}")
        }
    }
}

fn lines(all: &[Located]) -> String {
    let lines: Vec<_> = all.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
