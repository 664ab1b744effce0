//! How sidecars are, as people want to hear of it: that one went stale, that it is back, that it
//! refused something.

use std::collections::BTreeMap;

use entitlements_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    fleet::Member,
    notice::{Event, SidecarTrouble},
    settings::Setting,
};

/// What people were told of sidecars. The control plane writes it, nobody sets it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SidecarsTold {
    /// Each of whom something was told, by name.
    pub sidecars: BTreeMap<String, Told>,
}

/// What was told of a sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Told {
    /// Whether it is stale.
    pub stale: bool,
    /// When it refused something last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected_at: Option<Timestamp>,
}

impl Setting for SidecarsTold {
    const NAME: &'static str = "sidecars_told";

    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// What is to be told by now, and what will have been told then.
#[must_use]
pub fn look(
    told: &SidecarsTold,
    members: &[Member],
    now: Timestamp,
) -> (Vec<(String, Event)>, SidecarsTold) {
    let (mut news, mut next) = (Vec::new(), SidecarsTold::default());
    for member in members {
        let name = &member.report.sidecar;
        let before = told.sidecars.get(name).cloned().unwrap_or_default();
        let stale = is_stale(member, now);
        let rejected = member.report.rejected.as_ref();
        let rejected_at = rejected.map(|rejection| rejection.at).max(before.rejected_at);
        let mut tell = |event: Event| news.push((format!("sidecar/{name}"), event));
        if rejected_at > before.rejected_at {
            let (cause, detail) = rejected.map(|it| (it.cause.clone(), it.detail.clone())).unzip();
            tell(Event::SidecarRejected(SidecarTrouble { cause, detail, ..trouble(member) }));
        }
        match (before.stale, stale) {
            (false, true) => tell(Event::SidecarStale(trouble(member))),
            (true, false) => tell(Event::SidecarRecovered(trouble(member))),
            _ => {}
        }
        let after = Told { stale, rejected_at };
        if after != Told::default() {
            next.sidecars.insert(name.clone(), after);
        }
    }
    // One that was taken away is no trouble any more.
    let gone = |name: &&String| !members.iter().any(|member| member.report.sidecar == **name);
    for name in told.sidecars.keys().filter(gone) {
        if told.sidecars.get(name).is_some_and(|told| told.stale) {
            let trouble = SidecarTrouble {
                sidecar: name.clone(),
                revision: entitlements_core::Revision(0),
                state: "FORGOTTEN".into(),
                heard_at: now,
                cause: None,
                detail: None,
            };
            news.push((format!("sidecar/{name}"), Event::SidecarRecovered(trouble)));
        }
    }
    (news, next)
}

/// Not heard of any more, or serving what is too old. One that has only just started is neither.
fn is_stale(member: &Member, now: Timestamp) -> bool {
    !member.is_live(now) || matches!(member.report.state.as_str(), "STALE" | "EXPIRED")
}

fn trouble(member: &Member) -> SidecarTrouble {
    SidecarTrouble {
        sidecar: member.report.sidecar.clone(),
        revision: member.report.revision,
        state: member.report.state.clone(),
        heard_at: member.at,
        cause: None,
        detail: None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fleet::tests::member, *};
    use entitlements_core::document::Rejection;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn told(told: &mut SidecarsTold, members: &[Member], now: i64) -> Vec<String> {
        let (news, next) = look(told, members, at(now));
        *told = next;
        news.iter()
            .map(|(subject, event)| format!("{subject} {}", event.event_type().code()))
            .collect()
    }

    #[test]
    fn each_change_is_told_once() {
        let mut known = SidecarsTold::default();
        let fresh = || vec![member("a", 1, at(0))];
        assert_eq!(told(&mut known, &fresh(), 0), Vec::<String>::new());
        assert_eq!(told(&mut known, &fresh(), 34), Vec::<String>::new());
        assert_eq!(told(&mut known, &fresh(), 35), ["sidecar/a sidecar.stale"]);
        assert_eq!(told(&mut known, &fresh(), 99), Vec::<String>::new());
        let back = vec![member("a", 2, at(100))];
        assert_eq!(told(&mut known, &back, 100), ["sidecar/a sidecar.recovered"]);
        assert_eq!(known, SidecarsTold::default(), "what is well is not kept");
        let mut behind = vec![member("a", 2, at(110))];
        behind[0].report.state = "STALE".into();
        assert_eq!(told(&mut known, &behind, 110), ["sidecar/a sidecar.stale"]);
        assert_eq!(told(&mut known, &[], 120), ["sidecar/a sidecar.recovered"], "taken away");
        assert_eq!(told(&mut known, &[], 121), Vec::<String>::new());
    }

    #[test]
    fn a_refusal_is_told_once_and_again_where_it_is_another() {
        let mut known = SidecarsTold::default();
        let refusing = |when: i64| {
            let mut member = member("a", 1, at(when));
            let (cause, detail) = ("signature".into(), "no".into());
            member.report.rejected = Some(Rejection { cause, detail, at: at(when) });
            vec![member]
        };
        assert_eq!(told(&mut known, &refusing(1), 1), ["sidecar/a sidecar.rejected"]);
        assert_eq!(told(&mut known, &refusing(1), 2), Vec::<String>::new());
        assert_eq!(told(&mut known, &refusing(3), 3), ["sidecar/a sidecar.rejected"]);
        assert_eq!(told(&mut known, &[member("a", 2, at(4))], 4), Vec::<String>::new());
    }
}
