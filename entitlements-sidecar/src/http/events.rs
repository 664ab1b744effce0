//! Tells a client when to evaluate again, over server-sent events.
//!
//! One event on every connect, because some clients do not ask again by themselves after a broken
//! connection. After that, one whenever the result for the tenant has become another: by a
//! publication, by a window that begins or ends, or because the snapshot has grown too old.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{
    Response,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{
    Server,
    asking::Asking,
    ofrep, parameter,
    reply::{Payload, Problem, Reply, stamp},
    view::View,
};
use crate::{
    serving::Serving,
    standing::{Moment, State},
    stop::Stop,
};

/// `GET /ofrep/v1/events?tenant=acme`
pub(super) fn open(server: &Server, query: &str) -> Reply {
    let Some(tenant) = parameter(query, "tenant").filter(|tenant| !tenant.is_empty()) else {
        return Problem::Malformed("say for which tenant: `?tenant=acme`".into()).reply();
    };
    let Ok(room) = server.streams.clone().try_acquire_owned() else {
        return Problem::Busy.reply();
    };
    let (events, body) = mpsc::channel(EVENTS_QUEUED_MAX);
    let stream = Stream {
        serving: server.serving.clone(),
        tenant: tenant.into_owned(),
        keep_alive: server.limits.keep_alive,
        events,
        sent: None,
        _room: room,
    };
    tokio::spawn(stream.run(server.stop.clone()));
    let mut reply = Response::new(Payload::Events(body));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let now = server.serving.clock.now();
    let standing = server.serving.standing();
    let revision = server.serving.revision().map_or(0, |revision| revision.0);
    stamp(&mut reply, revision, standing.age_ms(now), standing.state(now));
    reply
}

/// One open stream.
struct Stream {
    serving: Arc<Serving>,
    tenant: String,
    keep_alive: Duration,
    events: mpsc::Sender<Bytes>,
    sent: Option<String>,
    _room: OwnedSemaphorePermit,
}

impl Stream {
    /// Until the client goes away or the sidecar stops.
    async fn run(mut self, mut stop: Stop) {
        let _open = self.serving.metrics.stream_opened();
        let mut pulses = self.serving.pulses();
        let mut keep_alive = tokio::time::interval(self.keep_alive);
        keep_alive.reset();
        if self.events.send(Bytes::from_static(b"retry: 1000\n\n")).await.is_err() {
            return;
        }
        loop {
            pulses.mark_unchanged();
            let Ok(pause) = self.tell().await else { return };
            tokio::select! {
                _ = pulses.changed() => {}
                () = tokio::time::sleep(pause) => {}
                _ = keep_alive.tick() => {
                    if self.events.send(Bytes::from_static(b": keep-alive\n\n")).await.is_err() {
                        return;
                    }
                }
                () = self.events.closed() => return,
                () = stop.told() => return,
            }
        }
    }

    /// Sends an event if the result is another one than was told last. Says for how long it holds.
    async fn tell(&mut self) -> Result<Duration, mpsc::error::SendError<Bytes>> {
        let Ok(view) = View::new(&Asking::now(&self.serving)) else { return Ok(PAUSE_MAX) };
        let tag = ofrep::tag(&view, &self.tenant);
        let pause = self.pause(&view);
        let now = view.now;
        drop(view);
        if self.sent.as_ref() != Some(&tag) {
            self.events.send(event(&tag, now)).await?;
            self.sent = Some(tag);
        }
        Ok(pause)
    }

    /// Until the next edge. The clock may be set, so it looks again after a while in any case.
    fn pause(&self, view: &View) -> Duration {
        let edge = view.next_change(&self.tenant).map(|edge| edge.since(view.now.at));
        let state = (view.state != State::Expired)
            .then(|| self.serving.standing().next_state_in(view.now))
            .flatten();
        [edge, state].into_iter().flatten().fold(PAUSE_MAX, Ord::min).max(PAUSE_MIN)
    }
}

fn event(tag: &str, now: Moment) -> Bytes {
    let id = tag.trim_matches('"');
    let seconds = now.at.as_micros().div_euclid(1_000_000);
    format!(
        "id: {id}\nevent: message\ndata: {{\"type\":\"refetchEvaluation\",\"etag\":\"\\\"{id}\\\"\",\
         \"lastModified\":{seconds}}}\n\n"
    )
    .into()
}

const EVENTS_QUEUED_MAX: usize = 8;
/// A timer is no finer than this.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use entitlements_core::Timestamp;

    #[test]
    fn an_event_is_what_the_protocol_asks_for() {
        let now = Moment {
            at: Timestamp::from_micros(1_500_000),
            wall: Timestamp::from_micros(1_500_000),
            up: Duration::ZERO,
        };
        let text = event("\"abc\"", now);
        let text = std::str::from_utf8(&text).unwrap();
        let data = text
            .strip_prefix("id: abc\nevent: message\ndata: ")
            .and_then(|rest| rest.strip_suffix("\n\n"))
            .unwrap();
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(
            data,
            serde_json::json!({"type": "refetchEvaluation", "etag": "\"abc\"", "lastModified": 1})
        );
    }
}
