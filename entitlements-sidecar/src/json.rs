//! JSON as it is read and written on the way to an answer, where the usual ways cost more than the
//! decision.

use entitlements_core::{Source, Timestamp};
use serde::Deserialize;

/// JSON so far, written piece by piece.
#[derive(Debug)]
pub(crate) struct Json {
    out: Vec<u8>,
    /// The instant that was written last. Answers about a tenant mostly share one.
    last: Option<(Timestamp, String)>,
}

impl Json {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes), last: None }
    }

    /// Writes what is JSON already, or text within quotes that needs no escape, such as a key of the
    /// catalog.
    pub(crate) fn raw(&mut self, text: &str) -> &mut Self {
        self.out.extend_from_slice(text.as_bytes());
        self
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        // A `Vec` takes every byte.
        let _ = serde_json::to_writer(&mut self.out, &number);
        self
    }

    /// Writes text from outside, in quotes.
    pub(crate) fn string(&mut self, text: &str) -> &mut Self {
        if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
            let _ = serde_json::to_writer(&mut self.out, text);
            return self;
        }
        self.raw("\"").raw(text).raw("\"")
    }

    /// Writes an instant, in quotes.
    pub(crate) fn instant(&mut self, at: Timestamp) -> &mut Self {
        if self.last.as_ref().is_none_or(|(last, _)| *last != at) {
            self.last = Some((at, at.to_string()));
        }
        self.out.push(b'"');
        if let Some((_, text)) = &self.last {
            self.out.extend_from_slice(text.as_bytes());
        }
        self.out.push(b'"');
        self
    }

    /// Writes what an answer rests on, in quotes.
    pub(crate) fn source(&mut self, source: Source<'_>) -> &mut Self {
        self.raw("\"").raw(source.kind.code()).raw(":").raw(source.key);
        if let Some(bundle) = source.via {
            self.raw("/").raw(bundle);
        }
        self.raw("\"")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.out
    }

    pub(crate) fn into_text(self) -> String {
        // Only text was written.
        String::from_utf8(self.out).unwrap_or_default()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out
    }
}

/// Reads JSON. The whole is looked at once for bytes that are no text, which is faster than each
/// string.
pub(crate) fn read<'b, T: Deserialize<'b>>(body: &'b [u8]) -> serde_json::Result<T> {
    match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str(text),
        // It says where.
        Err(_) => serde_json::from_slice(body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use entitlements_core::SourceKind;

    #[test]
    fn it_is_what_others_write() {
        for text in ["", "acme", "Zürich ✓", "a\"b", "a\\b", "a\nb", "\u{7f}", "\u{1}"] {
            let mut json = Json::with_capacity(0);
            json.string(text);
            assert_eq!(json.into_bytes(), serde_json::to_vec(text).unwrap(), "{text:?}");
        }
        let mut json = Json::with_capacity(0);
        let (early, late) = (Timestamp::from_micros(1), Timestamp::from_micros(2_000_000));
        for at in [early, early, late, early] {
            json.instant(at);
        }
        let expected = [early, early, late, early].map(|at| format!("\"{at}\"")).concat();
        assert_eq!(json.into_bytes(), expected.as_bytes());
        let sources =
            [None, Some("security")].map(|via| Source { kind: SourceKind::Plan, key: "pro", via });
        for source in sources {
            let mut json = Json::with_capacity(0);
            json.source(source);
            assert_eq!(json.into_bytes(), format!("\"{source}\"").as_bytes());
        }
    }
}
