//! What is wrong with something that somebody wrote, and where.

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[cfg_attr(feature = "document", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[error("{path}: {message}")]
pub struct Problem {
    /// Where, such as `plans.pro.grants.seats`.
    pub path: String,
    /// A stable word for the kind of problem, such as `unknown_feature`.
    pub code: std::borrow::Cow<'static, str>,
    /// What is wrong and what to do, in a sentence.
    pub message: String,
}

impl Problem {
    /// A problem at a place.
    pub(crate) fn new(path: &str, code: &'static str, message: String) -> Self {
        Self { path: path.into(), code: code.into(), message }
    }
}
