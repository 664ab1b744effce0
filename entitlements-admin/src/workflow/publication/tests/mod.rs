//! The state machine of publications: its sentences, its guards one by one, its whole table, and
//! what holds on every way through it.

mod laws;
mod table;

use std::collections::BTreeSet;

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_772_323_200_000_000);

fn later(micros: i64) -> Timestamp {
    Timestamp::from_micros(NOW.as_micros() + micros)
}

fn person(name: &str) -> Principal {
    Principal::Person(name.into())
}

fn digest(number: u8) -> Hash {
    Hash([number; 32])
}

/// A change that three tenants lose something by, and nothing stands against.
const EFFECT: Effect = Effect {
    digest: Hash([1; 32]),
    losing: 3,
    conflicts: 0,
    problems: 0,
    is_unchanged: false,
    is_first: false,
};

/// Somebody who asks for something, under the default policy.
fn context(actor: &Principal) -> Context<'_> {
    Context { now: NOW, actor, may_break_glass: false, policy: Policy::default(), effect: EFFECT }
}

fn approve() -> Act {
    Act::Approve { digest: EFFECT.digest }
}

/// A draft of Ann's, some steps further.
fn ann(acts: &[(&str, Act)]) -> Publication {
    let take = |publication: Publication, (actor, act): &(&str, Act)| {
        let actor = person(actor);
        let taken = step(&publication, act.clone(), &context(&actor));
        taken.unwrap_or_else(|refusal| panic!("{act:?}: {refusal}")).publication
    };
    acts.iter().fold(Publication::new(person("ann")), take)
}

/// Why somebody's act is refused, with something about the context changed.
fn refusal(
    publication: &Publication,
    actor: &str,
    act: Act,
    change: impl Fn(&mut Context<'_>),
) -> String {
    let actor = person(actor);
    let mut context = context(&actor);
    change(&mut context);
    step(publication, act, &context).unwrap_err().to_string()
}

#[test]
fn stages_have_words_that_read_back() {
    for stage in Stage::ALL {
        assert_eq!(stage.code().parse(), Ok(stage));
    }
    let error = "done".parse::<Stage>().unwrap_err();
    assert!(error.starts_with("`done` is no stage of a publication: use one of `draft`, "));
}

#[test]
fn a_change_is_submitted_approved_by_another_and_published() {
    let published = ann(&[("ann", Act::Submit), ("bob", approve()), ("ann", Act::Publish)]);
    assert_eq!(published.stage, Stage::Published);
    assert_eq!(published.votes.len(), 1);
    assert_eq!(published.votes[0].by, person("bob"));
}

#[test]
fn whoever_edited_last_cannot_approve_and_an_edit_voids_all_votes() {
    let submitted = ann(&[("ann", Act::Submit)]);
    assert_eq!(
        refusal(&submitted, "ann", approve(), |_| ()),
        "you edited it last, so somebody else has to approve it"
    );
    // Also somebody who may do everything.
    assert!(refusal(&submitted, "ann", approve(), |c| c.may_break_glass = true).contains("edited"));

    let edited = ann(&[("ann", Act::Submit), ("bob", approve()), ("bob", Act::Edit)]);
    assert_eq!((edited.stage, edited.votes.len()), (Stage::Draft, 0));
    assert_eq!(edited.editor, person("bob"));
    let again = ann(&[("ann", Act::Submit), ("bob", Act::Edit), ("bob", Act::Submit)]);
    assert!(refusal(&again, "bob", approve(), |_| ()).contains("edited it last"));
    assert!(step(&again, approve(), &context(&person("ann"))).is_ok());
}

#[test]
fn a_vote_is_for_what_stands_there_now() {
    let submitted = ann(&[("ann", Act::Submit)]);
    assert_eq!(
        refusal(&submitted, "bob", Act::Approve { digest: digest(9) }, |_| ()),
        "what you looked at is not what would be published now: look at the new preview, and \
         approve that"
    );
}

#[test]
fn only_people_vote_and_each_once() {
    let submitted = ann(&[("ann", Act::Submit)]);
    let key = Principal::Key("ci".into());
    for act in [approve(), Act::Reject { comment: "no".into() }] {
        assert_eq!(step(&submitted, act, &context(&key)), Err(Refusal::NotAPerson));
    }
    let two = |context: &mut Context<'_>| context.policy.approvals = 2;
    let bob = person("bob");
    let mut context = context(&bob);
    two(&mut context);
    let voted = step(&submitted, approve(), &context).unwrap();
    assert_eq!((voted.event, voted.publication.stage), (Event::Voted, Stage::InReview));
    assert_eq!(
        refusal(&voted.publication, "bob", approve(), two),
        "you have approved it already: it takes somebody else"
    );
    assert_eq!(
        refusal(&voted.publication, "ann", Act::Publish, two),
        "it has 1 of the 2 approvals that it needs: ask somebody else to approve it too"
    );
    let carl = person("carl");
    let last = step(&voted.publication, approve(), &Context { actor: &carl, ..context }).unwrap();
    assert_eq!((last.event, last.publication.stage), (Event::Approved, Stage::Approved));
    assert_eq!(
        refusal(&last.publication, "dora", approve(), two),
        "it has the approvals that it needs: publish or schedule it"
    );
}

#[test]
fn what_has_grown_or_changed_since_it_was_approved_goes_back_to_review() {
    let approved = ann(&[("ann", Act::Submit), ("bob", approve())]);
    let actor = person("ann");
    let grown = Effect { losing: 4, ..EFFECT };
    let other = Effect { digest: digest(2), ..EFFECT };
    for (effect, expected) in
        [(grown, Refusal::LargerEffect { saw: 3, now: 4 }), (other, Refusal::OtherEffect)]
    {
        for act in [Act::Publish, Act::Schedule { at: later(1) }] {
            let context = Context { effect, ..context(&actor) };
            let Step { publication, event } = step(&approved, act, &context).unwrap();
            assert_eq!(publication.stage, Stage::InReview);
            assert_eq!(publication.votes, []);
            assert_eq!(publication.note, Some(expected.to_string()));
            assert!(!event.publishes());
            assert_eq!(event, Event::SentBack(expected.clone()));
            // The same person may look again.
            let bob = person("bob");
            let act = Act::Approve { digest: effect.digest };
            let again = step(&publication, act, &Context { actor: &bob, ..context }).unwrap();
            assert_eq!(again.publication.stage, Stage::Approved);
        }
    }
    // Fewer than they saw is fine.
    let context = Context { effect: Effect { losing: 2, ..EFFECT }, ..context(&actor) };
    assert_eq!(step(&approved, Act::Publish, &context).unwrap().event, Event::Published);
}

#[test]
fn what_is_scheduled_and_then_refused_goes_back_to_review_with_a_note() {
    let at = later(1_000_000);
    let scheduled = ann(&[("ann", Act::Submit), ("bob", approve()), ("ann", Act::Schedule { at })]);
    assert_eq!((scheduled.stage, scheduled.publish_at), (Stage::Scheduled, Some(at)));
    let reconciler = Principal::Key("reconciler".into());
    for effect in [
        Effect { conflicts: 1, ..EFFECT },
        Effect { problems: 1, ..EFFECT },
        Effect { is_unchanged: true, ..EFFECT },
        Effect { losing: 4, ..EFFECT },
        Effect { digest: digest(2), ..EFFECT },
        Effect::UNKNOWN,
    ] {
        let context = Context { effect, now: at, ..context(&reconciler) };
        let Step { publication, event } = step(&scheduled, Act::Publish, &context).unwrap();
        let Event::SentBack(refusal) = event else { panic!("{event:?}") };
        assert_eq!((publication.stage, publication.publish_at), (Stage::InReview, None));
        assert_eq!(publication.note, Some(refusal.to_string()));
    }
    let context = Context { now: at, ..context(&reconciler) };
    let published = step(&scheduled, Act::Publish, &context).unwrap();
    assert_eq!((published.event, published.publication.publish_at), (Event::Published, None));
}

#[test]
fn a_schedule_is_in_the_future() {
    let approved = ann(&[("ann", Act::Submit), ("bob", approve())]);
    assert_eq!(
        refusal(&approved, "ann", Act::Schedule { at: NOW }, |_| ()),
        "`2026-03-01T00:00:00Z` is not after now, `2026-03-01T00:00:00Z`: choose a later instant, \
         or publish it at once"
    );
    assert!(step(&approved, Act::Schedule { at: later(1) }, &context(&person("ann"))).is_ok());
}

#[test]
fn what_is_scheduled_can_be_approved_anew_before_its_time_comes() {
    let at = later(1_000_000);
    let scheduled = ann(&[("ann", Act::Submit), ("bob", approve()), ("ann", Act::Schedule { at })]);
    let bob = person("bob");
    let context = Context { effect: Effect { losing: 9, ..EFFECT }, ..context(&bob) };
    let Step { publication, event } = step(&scheduled, approve(), &context).unwrap();
    assert_eq!(event, Event::Approved);
    assert_eq!((publication.stage, publication.publish_at), (Stage::Scheduled, Some(at)));
    assert_eq!(publication.votes.len(), 1, "the old vote is replaced");
    assert_eq!(step(&publication, Act::Publish, &context).unwrap().event, Event::Published);
}

#[test]
fn without_four_eyes_approval_is_needed_above_the_threshold() {
    let draft = ann(&[]);
    let actor = person("ann");
    let policy = Policy { four_eyes: false, approvals: 0, threshold: 3 };
    let at_it = Context { policy, ..context(&actor) };
    assert_eq!(step(&draft, Act::Publish, &at_it).unwrap().event, Event::Published);
    let above = Context { effect: Effect { losing: 4, ..EFFECT }, ..at_it };
    assert_eq!(
        step(&draft, Act::Publish, &above).unwrap_err().to_string(),
        "it has 0 of the 1 approval that it needs: ask somebody to approve it"
    );
}

#[test]
fn the_first_catalog_needs_no_approval() {
    let actor = person("ann");
    let context = Context { effect: Effect { is_first: true, ..EFFECT }, ..context(&actor) };
    assert_eq!(step(&ann(&[]), Act::Publish, &context).unwrap().event, Event::Published);
}

#[test]
fn breaking_the_glass_takes_the_right_a_reason_and_a_clean_draft() {
    let draft = ann(&[]);
    let act = |reason: &str| Act::BreakGlass { reason: reason.into() };
    assert_eq!(
        refusal(&draft, "ann", act("everything is down"), |_| ()),
        "you may not publish without approval: ask for approval, or ask a Super Admin"
    );
    let may = |context: &mut Context<'_>| context.may_break_glass = true;
    assert_eq!(
        refusal(&draft, "ann", act("  too few         "), may),
        "say in 10 characters or more why it cannot wait for approval"
    );
    let unclean = |context: &mut Context<'_>| {
        context.may_break_glass = true;
        context.effect.problems = 1;
    };
    assert!(refusal(&draft, "ann", act("everything is down"), unclean).contains("1 problem is in"));
    let actor = person("ann");
    let context = Context { may_break_glass: true, ..context(&actor) };
    let Step { publication, event } = step(&draft, act("0123456789"), &context).unwrap();
    assert_eq!(publication.stage, Stage::Published);
    assert_eq!(event, Event::BrokeGlass { reason: "0123456789".into() });
    assert_eq!((event.code(), event.publishes()), ("broke_glass", true));
}

#[test]
fn a_draft_that_is_not_clean_is_not_submitted_and_says_why() {
    let draft = ann(&[]);
    let unclean = |conflicts: usize, problems: usize| {
        refusal(&draft, "ann", Act::Submit, |context| {
            context.effect.conflicts = conflicts;
            context.effect.problems = problems;
        })
    };
    let rest = "in the way: put right what the validation of the draft lists";
    assert_eq!(unclean(1, 0), format!("1 conflict with the live catalog is {rest}"));
    assert_eq!(unclean(0, 2), format!("2 problems are {rest}"));
    assert_eq!(
        unclean(2, 1),
        format!("2 conflicts with the live catalog and 1 problem are {rest}")
    );
    assert_eq!(
        refusal(&draft, "ann", Act::Submit, |context| context.effect.is_unchanged = true),
        "it would change nothing in the live catalog: edit it first, or discard it"
    );
    // It can be saved all the same.
    let actor = person("ann");
    let context = Context { effect: Effect::UNKNOWN, ..context(&actor) };
    assert!(step(&draft, Act::Edit, &context).is_ok());
}

#[test]
fn asking_for_changes_says_which_and_stays_until_it_is_submitted_again() {
    let submitted = ann(&[("ann", Act::Submit)]);
    let reject = |comment: &str| Act::Reject { comment: comment.into() };
    assert_eq!(
        refusal(&submitted, "bob", reject(" "), |_| ()),
        "say in a comment what should be changed"
    );
    let rejected = ann(&[("ann", Act::Submit), ("bob", reject("too few seats"))]);
    assert_eq!((rejected.stage, rejected.note.as_deref()), (Stage::Draft, Some("too few seats")));
    let edited = step(&rejected, Act::Edit, &context(&person("ann"))).unwrap().publication;
    assert_eq!(edited.note.as_deref(), Some("too few seats"));
    let again = step(&edited, Act::Submit, &context(&person("ann"))).unwrap().publication;
    assert_eq!(again.note, None);
}

#[test]
fn what_is_over_stays_over_and_says_what_to_do() {
    let published = ann(&[("ann", Act::Submit), ("bob", approve()), ("ann", Act::Publish)]);
    assert_eq!(
        refusal(&published, "ann", Act::Edit, |_| ()),
        "it is `published`, so `edit` is not possible: make a new draft, or roll back to a \
         revision before it"
    );
    let rolled_back = step(&published, Act::RollBack, &context(&person("ann"))).unwrap();
    assert_eq!(rolled_back.publication.stage, Stage::RolledBack);
    assert!(refusal(&rolled_back.publication, "ann", Act::RollBack, |_| ()).ends_with("new draft"));
}

#[test]
fn every_refusal_has_a_word_of_its_own() {
    let all = [
        Refusal::WrongStage { act: "edit", stage: Stage::Discarded },
        Refusal::Unclean { conflicts: 1, problems: 0 },
        Refusal::NothingToPublish,
        Refusal::NotAPerson,
        Refusal::OwnEdit,
        Refusal::OtherPreview,
        Refusal::VotedAlready,
        Refusal::EnoughVotes,
        Refusal::NeedsVotes { standing: 0, needed: 1 },
        Refusal::OtherEffect,
        Refusal::LargerEffect { saw: 1, now: 2 },
        Refusal::NotInFuture { at: NOW, now: NOW },
        Refusal::NoComment,
        Refusal::ShortReason,
        Refusal::MayNotBreakGlass,
    ];
    let codes: BTreeSet<_> = all.iter().map(Refusal::code).collect();
    assert_eq!(codes.len(), all.len());
    for refusal in all {
        let text = refusal.to_string();
        assert!(!text.ends_with('.') && !text.starts_with(char::is_uppercase), "{text}");
    }
}
