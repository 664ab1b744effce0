//! What holds on every way through the machine, on random ones by a seed.

use super::*;

/// Splitmix64: the next of a sequence that the seed fixes.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % end
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn actor(&mut self) -> Principal {
        match self.below(5) {
            0 => Principal::Key("ci".into()),
            number => person(&format!("person {number}")),
        }
    }

    fn effect(&mut self) -> Effect {
        Effect {
            digest: digest(u8::from(self.chance(15))),
            losing: 3 + u64::from(self.chance(15)),
            conflicts: usize::from(self.chance(8)),
            problems: usize::from(self.chance(8)),
            is_unchanged: self.chance(5),
            is_first: self.chance(3),
        }
    }

    fn act(&mut self, effect: &Effect) -> Act {
        match self.below(16) {
            0 => Act::Edit,
            1 | 2 => Act::Submit,
            3 => Act::Withdraw,
            4..=7 if self.chance(90) => Act::Approve { digest: effect.digest },
            4..=7 => Act::Approve { digest: digest(7) },
            8 => Act::Reject { comment: ["", "no"][self.below(2) as usize].into() },
            9 | 10 => Act::Schedule { at: later(self.below(3).cast_signed() - 1) },
            11 => Act::Unschedule,
            12 | 13 => Act::Publish,
            14 => Act::BreakGlass { reason: ["", "all are down"][self.below(2) as usize].into() },
            _ if self.chance(20) => Act::Discard,
            _ => Act::RollBack,
        }
    }
}

/// The second statement of who has agreed to what, kept beside the machine.
struct Ledger {
    editor: Principal,
    /// Who, to which digest, having seen how many lose.
    agreed: Vec<(Principal, Hash, u64)>,
}

impl Ledger {
    fn note(&mut self, act: &Act, step: &Step, context: &Context<'_>) {
        let is_refused = matches!(step.event, Event::SentBack(_));
        match act {
            Act::Edit => {
                self.editor = context.actor.clone();
                self.agreed.clear();
            }
            Act::Withdraw | Act::Reject { .. } => self.agreed.clear(),
            Act::Approve { digest } if !is_refused => {
                self.agreed.retain(|(who, ..)| who != context.actor);
                self.agreed.push((context.actor.clone(), *digest, context.effect.losing));
            }
            _ => {}
        }
    }

    /// How many people other than the last editor have agreed to this effect or a worse one.
    fn agreed_to(&self, effect: &Effect) -> u32 {
        let agreed = self.agreed.iter().filter(|(who, digest, losing)| {
            *who != self.editor && *digest == effect.digest && *losing >= effect.losing
        });
        let people: BTreeSet<_> = agreed
            .filter_map(|(who, ..)| match who {
                Principal::Person(name) => Some(name),
                Principal::Key(_) => None,
            })
            .collect();
        u32::try_from(people.len()).unwrap()
    }
}

#[test]
fn nothing_is_published_without_the_votes_the_glass_or_no_need_of_either() {
    let (mut by_vote, mut by_glass, mut without_need, mut sent_back) = (0, 0, 0, 0);
    for seed in 0..20_000 {
        let mut random = Random(seed);
        let policy = Policy {
            four_eyes: random.chance(70),
            approvals: u32::try_from(random.below(3)).unwrap(),
            threshold: 2 + random.below(3),
        };
        let editor = random.actor();
        let mut publication = Publication::new(editor.clone());
        let mut ledger = Ledger { editor, agreed: Vec::new() };
        for _ in 0..40 {
            let (actor, effect) = (random.actor(), random.effect());
            let may_break_glass = random.chance(30);
            let context = Context { now: NOW, actor: &actor, may_break_glass, policy, effect };
            let act = random.act(&effect);
            let Ok(taken) = step(&publication, act.clone(), &context) else { continue };
            ledger.note(&act, &taken, &context);
            check_step(&publication, &act, &taken, seed);
            let is_clean = effect.conflicts + effect.problems == 0 && !effect.is_unchanged;
            let needs_vote =
                !effect.is_first && (policy.four_eyes || effect.losing > policy.threshold);
            let needed = if needs_vote { policy.approvals.max(1) } else { 0 };
            match &taken.event {
                Event::Published | Event::Scheduled { .. } => {
                    assert!(is_clean, "seed {seed}: {act:?}");
                    assert!(ledger.agreed_to(&effect) >= needed, "seed {seed}: {act:?}");
                    if needed == 0 { without_need += 1 } else { by_vote += 1 }
                }
                Event::BrokeGlass { reason } => {
                    assert!(is_clean && may_break_glass && reason.len() >= 10, "seed {seed}");
                    by_glass += 1;
                }
                Event::SentBack(_) => sent_back += 1,
                _ => {}
            }
            publication = taken.publication;
        }
    }
    for count in [by_vote, by_glass, without_need, sent_back] {
        assert!(count > 500, "{by_vote} {by_glass} {without_need} {sent_back}: too few to show it");
    }
}

/// What holds for each step by itself.
fn check_step(before: &Publication, act: &Act, taken: &Step, seed: u64) {
    let after = &taken.publication;
    let told = format!("seed {seed}: {act:?} led from {before:?} to {after:?}");
    assert!(before.stage.is_open() || before.stage == Stage::Published, "{told}");
    if before.stage == Stage::Published {
        assert_eq!(after.stage, Stage::RolledBack, "{told}");
    }
    assert_eq!(after.stage == Stage::Scheduled, after.publish_at.is_some(), "{told}");
    assert_eq!(
        taken.event.publishes(),
        after.stage == Stage::Published,
        "only what publishes leads there: {told}"
    );
    if matches!(act, Act::Edit | Act::Withdraw | Act::Reject { .. }) {
        assert!(after.votes.is_empty() && after.stage == Stage::Draft, "{told}");
    }
    let voters: BTreeSet<_> = after.votes.iter().map(|vote| &vote.by).collect();
    assert_eq!(voters.len(), after.votes.len(), "each votes once: {told}");
    assert!(!voters.contains(&after.editor), "the last editor has no vote: {told}");
    if let Event::SentBack(refusal) = &taken.event {
        assert_eq!(after.stage, Stage::InReview, "{told}");
        assert_eq!(after.note, Some(refusal.to_string()), "{told}");
    }
}
