//! Notices a connection that takes too long, whatever it is doing.
//!
//! hyper's own time-out for request heads counts idle time too and makes a timer per request. Here
//! the connection notes what it is doing, for the price of a store, and one slow tick looks whether
//! that has changed since the last time.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::Limits;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing.
    Idle,
    /// A request has begun to arrive.
    Head,
    /// A request is being answered.
    Busy,
    /// The answer is on its way out.
    Writing,
    /// Events are sent as they come, or much that takes its time.
    Streaming,
    /// A request is held until there is something to say.
    Held,
}

/// What a connection is doing, and how often that has changed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pace(Arc<AtomicU64>);

const PHASE_BITS: u32 = 3;

impl Pace {
    /// A request's head is complete.
    pub(crate) fn request_begins(&self) {
        self.enter(Phase::Busy);
    }

    /// The same for one that may be held.
    pub(crate) fn held_request_begins(&self) {
        self.enter(Phase::Held);
    }

    /// Its answer is handed over.
    pub(crate) fn answer_begins(&self, streaming: bool) {
        self.enter(if streaming { Phase::Streaming } else { Phase::Writing });
    }

    fn phase(&self) -> Phase {
        Self::phase_of(self.word())
    }

    fn word(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    const fn phase_of(word: u64) -> Phase {
        match word & ((1 << PHASE_BITS) - 1) {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Busy,
            3 => Phase::Writing,
            4 => Phase::Streaming,
            _ => Phase::Held,
        }
    }

    /// Only one task works on a connection, so nothing comes between the load and the store.
    fn enter(&self, phase: Phase) {
        let steps = self.word() >> PHASE_BITS;
        // An answer on its way out is still the same request.
        let steps = if phase == Phase::Writing { steps } else { steps + 1 };
        self.0.store(steps << PHASE_BITS | phase as u64, Ordering::Relaxed);
    }

    fn was_read(&self) {
        if self.phase() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    fn was_written(&self) {
        if self.phase() == Phase::Streaming {
            self.enter(Phase::Streaming);
        }
    }

    fn was_flushed(&self) {
        if self.phase() == Phase::Writing {
            self.enter(Phase::Idle);
        }
    }
}

/// A little more than the longest that a sidecar may ask a question to be held for.
const HELD_MAX: Duration = Duration::from_secs(75);

/// Looks at a connection now and then.
#[derive(Debug)]
pub(crate) struct Watch {
    pace: Pace,
    seen: u64,
    ticks: u32,
}

impl Watch {
    pub(crate) fn new(pace: Pace) -> Self {
        Self { seen: pace.word(), pace, ticks: 0 }
    }

    /// How often to look.
    pub(crate) fn tick(limits: &Limits) -> Duration {
        let shortest = limits.header.min(limits.request).min(limits.idle);
        (shortest / 4).max(Duration::from_millis(10))
    }

    /// One tick has passed: has the connection stood still for too long?
    pub(crate) fn is_overdue(&mut self, limits: &Limits) -> bool {
        let word = self.pace.word();
        if word >> PHASE_BITS != self.seen >> PHASE_BITS {
            self.seen = word;
            self.ticks = 0;
            return false;
        }
        self.ticks += 1;
        let most = match Pace::phase_of(word) {
            Phase::Head => limits.header,
            Phase::Busy | Phase::Writing => limits.request,
            Phase::Idle | Phase::Streaming => limits.idle,
            Phase::Held => HELD_MAX,
        };
        Self::tick(limits) * self.ticks >= most
    }
}

/// A stream that tells a [`Pace`] what passes through it.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    stream: S,
    pace: Pace,
}

impl<S> Paced<S> {
    pub(crate) fn new(stream: S, pace: Pace) -> Self {
        Self { stream, pace }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pace.was_read();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if written.is_ready() {
            self.pace.was_written();
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        if written.is_ready() {
            self.pace.was_written();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.pace.was_flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks_until_overdue(pace: &Pace) -> u32 {
        let limits = Limits::default();
        let mut watch = Watch::new(pace.clone());
        (1..1_000).find(|_| watch.is_overdue(&limits)).unwrap()
    }

    #[test]
    fn each_phase_has_its_own_patience() {
        assert_eq!(Watch::tick(&Limits::default()), Duration::from_millis(500));
        let pace = Pace::default();
        assert_eq!(ticks_until_overdue(&pace), 120, "idle: 60 s");
        pace.was_read();
        assert_eq!(ticks_until_overdue(&pace), 10, "head: 5 s");
        pace.request_begins();
        assert_eq!(ticks_until_overdue(&pace), 4, "request: 2 s");
        pace.answer_begins(false);
        assert_eq!(ticks_until_overdue(&pace), 4, "answer: the rest of the 2 s");
        pace.was_flushed();
        assert_eq!(ticks_until_overdue(&pace), 120, "idle again");
        pace.request_begins();
        pace.answer_begins(true);
        assert_eq!(ticks_until_overdue(&pace), 120, "a stream that gets rid of nothing");
    }

    #[test]
    fn whoever_makes_progress_is_left_alone() {
        let limits = Limits::default();
        let pace = Pace::default();
        let mut watch = Watch::new(pace.clone());
        for _ in 0..1_000 {
            pace.was_read();
            pace.request_begins();
            pace.answer_begins(false);
            pace.was_flushed();
            assert!(!watch.is_overdue(&limits));
        }
        pace.request_begins();
        pace.answer_begins(true);
        for _ in 0..1_000 {
            pace.was_written();
            assert!(!watch.is_overdue(&limits));
        }
    }

    #[test]
    fn a_slow_answer_does_not_start_its_patience_again() {
        let limits = Limits::default();
        let pace = Pace::default();
        pace.request_begins();
        let mut watch = Watch::new(pace.clone());
        assert!(!watch.is_overdue(&limits) && !watch.is_overdue(&limits));
        pace.answer_begins(false);
        assert!(!watch.is_overdue(&limits));
        assert!(watch.is_overdue(&limits), "two seconds for the whole of it");
    }
}
