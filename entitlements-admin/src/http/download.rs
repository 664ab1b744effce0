//! Long answers that are written while they are sent: lists for spreadsheets, and lines of JSON.

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use http_body_util::channel::{Channel, Sender};
use tokio::runtime::Handle;

/// How many bytes are gathered before they are sent.
const CHUNK_BYTES: usize = 32 * 1024;
/// How many chunks may wait for whoever reads them. The writer waits with them.
const CHUNKS_MAX: usize = 4;

/// Whoever read has gone.
#[derive(Debug)]
pub(super) struct Gone;

/// Takes lines, on a thread of its own.
pub(super) struct Lines {
    sender: Sender<Bytes>,
    runtime: Handle,
    chunk: Vec<u8>,
}

impl Lines {
    /// One line, with its end.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Gone> {
        self.chunk.extend_from_slice(text.as_bytes());
        self.chunk.push(b'\n');
        if self.chunk.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    /// One row of a list.
    pub(super) fn row(&mut self, cells: &[&str]) -> Result<(), Gone> {
        let cells: Vec<String> = cells.iter().map(|cell| csv_cell(cell)).collect();
        // As RFC 4180 ends a row.
        self.line(&format!("{}\r", cells.join(",")))
    }

    fn flush(&mut self) -> Result<(), Gone> {
        let bytes = Bytes::from(std::mem::take(&mut self.chunk));
        self.runtime.block_on(self.sender.send_data(bytes)).map_err(|_| Gone)
    }
}

/// An answer that is written while it is sent, to be kept under a name.
pub(super) fn download(
    media_type: &'static str,
    name: &str,
    write: impl FnOnce(&mut Lines) -> Result<(), Gone> + Send + 'static,
) -> Response {
    let (sender, body) = Channel::<Bytes>::new(CHUNKS_MAX);
    let mut lines = Lines { sender, runtime: Handle::current(), chunk: Vec::new() };
    tokio::task::spawn_blocking(move || {
        if write(&mut lines).and_then(|()| lines.flush()).is_err() {
            tracing::debug!("a download was broken off by whoever took it");
        }
    });
    let mut response = Body::new(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    let disposition = format!("attachment; filename=\"{name}\"");
    if let Ok(value) = HeaderValue::from_str(&disposition) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

/// A cell as spreadsheets read it. What they would take for a formula gets a `'` before it.
fn csv_cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let is_number = text.parse::<f64>().is_ok();
    let text = if is_formula && !is_number { format!("'{text}") } else { text.into() };
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula_and_never_two() {
        for (text, cell) in [
            ("plain", "plain"),
            ("-5", "-5"),
            ("=1+1", "'=1+1"),
            ("+SUM(A1)", "'+SUM(A1)"),
            ("@x", "'@x"),
            ("-x", "'-x"),
            ("a,b", "\"a,b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("=a,b", "\"'=a,b\""),
        ] {
            assert_eq!(csv_cell(text), cell);
        }
    }
}
