//! Answers of distinct profiles, one cell of two bytes for each feature.
//!
//! A cell is the number of one of the chunk's distinct answers. Chunks are shared between
//! snapshots; a change of a few tenants adds rows to a small last chunk.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;

use crate::{
    decision::{Answer, Reason},
    index::FeatureIx,
};

/// Where a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowId {
    chunk: u16,
    row: u16,
}

impl RowId {
    /// Of what has not been prepared yet.
    pub(crate) const NONE: Self = Self { chunk: u16::MAX, row: u16::MAX };
}

/// The rows of a snapshot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    chunks: Vec<Arc<Chunk>>,
}

#[derive(Debug, Clone, Default)]
struct Chunk {
    width: usize,
    cells: Vec<u16>,
    answers: Vec<Answer>,
}

/// The most rows of a chunk that is still added to by small changes; it is copied each time.
const OPEN_ROWS: usize = 64;
/// The most chunks before rows are better made anew.
const CHUNKS_MAX: usize = 1_024;

impl Chunk {
    fn rows(&self) -> usize {
        self.cells.len().checked_div(self.width).unwrap_or(0)
    }
}

impl Rows {
    #[inline]
    pub(crate) fn answer(&self, row: RowId, feature: FeatureIx) -> Option<Answer> {
        let chunk = self.chunks.get(usize::from(row.chunk))?;
        let cell = chunk.cells.get(usize::from(row.row) * chunk.width + feature.get())?;
        chunk.answers.get(usize::from(*cell)).copied()
    }

    /// Whether so many small changes have piled up that rows should be made anew.
    pub(crate) fn is_scattered(&self) -> bool {
        self.chunks.len() > CHUNKS_MAX
    }

    /// How many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        let chunk = |c: &Arc<Chunk>| c.cells.len() * 2 + c.answers.len() * size_of::<Answer>();
        self.chunks.iter().map(chunk).sum()
    }
}

/// Adds rows to those there are.
#[derive(Debug)]
pub(crate) struct RowsBuilder {
    rows: Rows,
    open: Chunk,
    numbers: HashMap<Answer, u16, RandomState>,
}

impl RowsBuilder {
    /// From nothing.
    pub(crate) fn new(width: usize) -> Self {
        let open = Chunk { width, ..Chunk::default() };
        Self { rows: Rows::default(), open, numbers: HashMap::default() }
    }

    /// On top of what there is, which stays as it is.
    pub(crate) fn on(rows: &Rows, width: usize) -> Self {
        let mut this = Self { rows: rows.clone(), ..Self::new(width) };
        if let Some(last) = this.rows.chunks.pop_if(|last| last.rows() < OPEN_ROWS) {
            this.open = Chunk::clone(&last);
            this.numbers = this.open.answers.iter().copied().zip(0..).collect();
        }
        this
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, answers: &[Answer]) -> RowId {
        let is_full = self.open.rows() >= usize::from(u16::MAX) - 1
            || self.open.answers.len() + answers.len() > usize::from(u16::MAX);
        if is_full {
            self.close();
        }
        let row = self.open.rows();
        for answer in answers {
            let next = self.open.answers.len();
            let number = *self.numbers.entry(*answer).or_insert_with(|| {
                self.open.answers.push(*answer);
                u16::try_from(next).unwrap_or(u16::MAX)
            });
            self.open.cells.push(number);
        }
        let chunk = u16::try_from(self.rows.chunks.len()).unwrap_or(u16::MAX);
        RowId { chunk, row: u16::try_from(row).unwrap_or(u16::MAX) }
    }

    fn close(&mut self) {
        let width = self.open.width;
        let full = std::mem::replace(&mut self.open, Chunk { width, ..Chunk::default() });
        self.rows.chunks.push(Arc::new(full));
        self.numbers.clear();
    }

    pub(crate) fn finish(mut self) -> Rows {
        if !self.open.cells.is_empty() {
            self.open.cells.shrink_to_fit();
            self.close();
        }
        self.rows
    }
}

/// The answer about what is unknown.
pub(crate) const UNKNOWN_TENANT: Answer = Answer::denied(Reason::UnknownTenant, 0);
/// The answer about what is unknown.
pub(crate) const UNKNOWN_FEATURE: Answer = Answer::denied(Reason::UnknownFeature, 0);
