//! Reads an object and finds all that cannot be read in it, not only the first.

use std::collections::BTreeMap;

use entitlements_core::{Problem, document::ByName};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

/// The most that is told of one object. Each costs reading it again.
const PROBLEMS_MAX: usize = 100;

/// Reads a value below a path. What cannot be read of it is told, taken out, and the rest read
/// again, so that one mistake does not hide the next. Nothing is returned where nothing that is
/// left makes sense.
pub(super) fn read<T: DeserializeOwned>(path: &str, mut value: Value) -> (Option<T>, Vec<Problem>) {
    let mut problems: Vec<Problem> = Vec::new();
    let mut dropped = Dropped::default();
    loop {
        let error = match serde_path_to_error::deserialize(ByName(&value)) {
            Ok(object) => return (Some(object), problems),
            Err(error) => error,
        };
        let place = dropped.place(path, error.path());
        // That a field is missing is no news where it was there and is told to be wrong.
        if !problems.iter().any(|known| lies_below(&known.path, &place)) {
            problems.push(Problem {
                path: place,
                code: "syntax".into(),
                message: error.inner().to_string(),
            });
        }
        let steps: Vec<&Segment> = error.path().iter().collect();
        let took_out = dropped.take_out(path.into(), &mut value, &steps);
        if !took_out || problems.len() >= PROBLEMS_MAX {
            return (None, problems);
        }
    }
}

fn lies_below(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.starts_with(['.', '[']))
}

/// How many entries of each list are taken out. They stood before the ones that are looked at
/// now, which therefore stood so many further down in what somebody wrote.
#[derive(Default)]
struct Dropped(BTreeMap<String, usize>);

impl Dropped {
    /// A path as somebody who wrote the object counts.
    fn place(&self, root: &str, path: &Path) -> String {
        path.iter().fold(root.into(), |place, segment| self.below(place, segment))
    }

    fn below(&self, place: String, segment: &Segment) -> String {
        match segment {
            Segment::Seq { index } => {
                let index = index + self.0.get(&place).copied().unwrap_or(0);
                format!("{place}[{index}]")
            }
            Segment::Map { key } => format!("{place}.{key}"),
            Segment::Enum { variant } => format!("{place}.{variant}"),
            Segment::Unknown => place,
        }
    }

    /// Takes out the innermost thing of a path that is there. Says whether there was one.
    fn take_out(&mut self, place: String, value: &mut Value, path: &[&Segment]) -> bool {
        let Some((step, rest)) = path.split_first() else { return false };
        let below = self.below(place.clone(), step);
        let Some(inner) = step_into(value, step) else { return false };
        if self.take_out(below, inner, rest) {
            return true;
        }
        match (value, step) {
            (Value::Object(fields), Segment::Map { key } | Segment::Enum { variant: key }) => {
                fields.remove(key).is_some()
            }
            (Value::Array(list), Segment::Seq { index }) => {
                list.remove(*index);
                *self.0.entry(place).or_default() += 1;
                true
            }
            _ => false,
        }
    }
}

fn step_into<'v>(value: &'v mut Value, segment: &Segment) -> Option<&'v mut Value> {
    match (value, segment) {
        (Value::Object(fields), Segment::Map { key } | Segment::Enum { variant: key }) => {
            fields.get_mut(key)
        }
        (Value::Array(list), Segment::Seq { index }) => list.get_mut(*index),
        _ => None,
    }
}
