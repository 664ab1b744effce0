//! Answers of distinct profiles, one byte for each feature.
//!
//! A cell is the number of one of the distinct answers that its chunk has for the feature. Chunks
//! are shared between snapshots; a change of a few tenants adds rows to a small last chunk.

use std::sync::Arc;

use crate::{
    decision::{Answer, Reason},
    index::FeatureIx,
};

/// Where a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RowId {
    chunk: u16,
    row: u16,
}

impl RowId {
    /// Of what has not been prepared yet.
    pub(crate) const NONE: Self = Self { chunk: u16::MAX, row: u16::MAX };

    pub(crate) fn number(self) -> u32 {
        u32::from(self.chunk) << 16 | u32::from(self.row)
    }
}

/// The rows of a snapshot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    chunks: Vec<Arc<Chunk>>,
    /// How many of them were made when everything was compiled.
    compiled: usize,
}

#[derive(Debug, Clone, Default)]
struct Chunk {
    cells: Vec<u8>,
    /// Where the answers of each feature start.
    starts: Vec<u32>,
    answers: Vec<Answer>,
}

/// The most rows of a chunk that is still added to by small changes; it is copied each time.
const OPEN_ROWS: usize = 64;
/// The most chunks that small changes may add before rows are better made anew.
const CHUNKS_MAX: usize = 1_024;

impl Chunk {
    #[inline]
    fn width(&self) -> usize {
        self.starts.len()
    }

    fn rows(&self) -> usize {
        self.cells.len().checked_div(self.width()).unwrap_or(0)
    }

    /// The answers of each feature.
    fn columns(&self) -> impl Iterator<Item = &[Answer]> {
        let ends = self.starts.iter().skip(1).map(|end| *end as usize).chain([self.answers.len()]);
        self.starts
            .iter()
            .zip(ends)
            .map(|(start, end)| self.answers.get(*start as usize..end).unwrap_or(&[]))
    }
}

impl Rows {
    #[inline]
    pub(crate) fn answer(&self, row: RowId, feature: FeatureIx) -> Option<Answer> {
        let chunk = self.chunks.get(usize::from(row.chunk))?;
        let cell = chunk.cells.get(usize::from(row.row) * chunk.width() + feature.get())?;
        let start = chunk.starts.get(feature.get())?;
        chunk.answers.get(*start as usize + usize::from(*cell)).copied()
    }

    /// Whether so many small changes have piled up that rows should be made anew.
    pub(crate) fn is_scattered(&self) -> bool {
        self.chunks.len() > self.compiled + CHUNKS_MAX
    }

    /// The same, as the whole of what was compiled.
    pub(crate) fn compiled(self) -> Self {
        Self { compiled: self.chunks.len(), ..self }
    }

    /// How many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        let chunk = |c: &Arc<Chunk>| {
            c.cells.len() + c.starts.len() * 4 + c.answers.len() * size_of::<Answer>()
        };
        self.chunks.iter().map(chunk).sum()
    }
}

/// Adds rows to those there are.
#[derive(Debug)]
pub(crate) struct RowsBuilder {
    rows: Rows,
    cells: Vec<u8>,
    columns: Vec<Column>,
}

/// The distinct answers of one feature. There are a handful, so looking them through is quick.
#[derive(Debug, Clone, Default)]
struct Column(Vec<Answer>);

impl Column {
    /// The number of an answer; `None` where there is no room for one more.
    fn number(&mut self, answer: Answer) -> Option<u8> {
        let known = self.0.iter().position(|one| *one == answer);
        let number = known.unwrap_or(self.0.len());
        let number = u8::try_from(number).ok()?;
        if known.is_none() {
            self.0.push(answer);
        }
        Some(number)
    }
}

impl RowsBuilder {
    /// From nothing.
    pub(crate) fn new(width: usize) -> Self {
        Self { rows: Rows::default(), cells: Vec::new(), columns: vec![Column::default(); width] }
    }

    /// On top of what there is, which stays as it is.
    pub(crate) fn on(rows: &Rows, width: usize) -> Self {
        let mut this = Self { rows: rows.clone(), ..Self::new(width) };
        if let Some(last) = this.rows.chunks.pop_if(|last| last.rows() < OPEN_ROWS) {
            this.cells.clone_from(&last.cells);
            this.columns = last.columns().map(|answers| Column(answers.to_vec())).collect();
        }
        this
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, answers: &[Answer]) -> RowId {
        if answers.is_empty() {
            return RowId::NONE;
        }
        let start = self.cells.len();
        if start >= (usize::from(u16::MAX) - 1) * self.columns.len() || !self.add(answers) {
            self.cells.truncate(start);
            self.close();
            // An empty chunk has room for any row.
            self.add(answers);
        }
        let row = (self.cells.len() / self.columns.len().max(1)).saturating_sub(1);
        let chunk = u16::try_from(self.rows.chunks.len()).unwrap_or(u16::MAX);
        RowId { chunk, row: u16::try_from(row).unwrap_or(u16::MAX) }
    }

    /// An answer of any row so far.
    pub(crate) fn answer(&self, row: RowId, feature: FeatureIx) -> Option<Answer> {
        if usize::from(row.chunk) < self.rows.chunks.len() {
            return self.rows.answer(row, feature);
        }
        let column = self.columns.get(feature.get())?;
        let cell = self.cells.get(usize::from(row.row) * self.columns.len() + feature.get())?;
        column.0.get(usize::from(*cell)).copied()
    }

    fn add(&mut self, answers: &[Answer]) -> bool {
        self.columns.iter_mut().zip(answers).all(|(column, answer)| {
            let number = column.number(*answer);
            self.cells.extend(number);
            number.is_some()
        })
    }

    fn close(&mut self) {
        let mut chunk = Chunk { cells: std::mem::take(&mut self.cells), ..Chunk::default() };
        for column in &mut self.columns {
            chunk.starts.push(u32::try_from(chunk.answers.len()).unwrap_or(u32::MAX));
            chunk.answers.append(&mut column.0);
        }
        chunk.cells.shrink_to_fit();
        self.rows.chunks.push(Arc::new(chunk));
    }

    pub(crate) fn finish(mut self) -> Rows {
        if !self.cells.is_empty() {
            self.close();
        }
        self.rows
    }
}

/// The answer about what is unknown.
pub(crate) const UNKNOWN_TENANT: Answer = Answer::denied(Reason::UnknownTenant, 0);
/// The answer about what is unknown.
pub(crate) const UNKNOWN_FEATURE: Answer = Answer::denied(Reason::UnknownFeature, 0);
