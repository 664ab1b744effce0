//! The state machine of requests: its whole table, four eyes, and what holds on every way through it.

use std::{collections::BTreeSet, fmt::Write, fs, path::Path};

use super::*;
use crate::workflow::{
    approval::{Approvers, Ineligible},
    people::Role,
};

const NOW: Timestamp = Timestamp::from_micros(1_772_323_200_000_000);
const DIGEST: Hash = Hash([1; 32]);

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_micros(NOW.as_micros() + seconds * 1_000_000)
}

fn person(name: &str) -> Principal {
    Principal::Person(format!("{name}@x.example"))
}

fn address(name: &str) -> String {
    format!("{name}@x.example")
}

fn stage_of(of: Approvers, count: u32) -> ApprovalStage {
    ApprovalStage { name: "Approval".into(), of, count, above_amount: None }
}

/// Bob, Carl and Dora approve; Fay is in finance; Sam may do everything. Deputy stands in for Bob,
/// Proxy for Ann.
fn people() -> Electorate {
    let roles = [("bob", Role::Approver), ("carl", Role::Approver), ("dora", Role::Approver)];
    let roles = roles.into_iter().chain([("sam", Role::SuperAdmin), ("ann", Role::Approver)]);
    let finance = ["fay", "sam"].map(address).into();
    Electorate {
        roles: roles.map(|(name, role)| (address(name), BTreeSet::from([role]))).collect(),
        addresses: std::collections::BTreeMap::new(),
        teams: [("finance".to_owned(), finance)].into(),
        deputies: [("deputy", "bob"), ("proxy", "ann"), ("sam", "gail")]
            .map(|(deputy, from)| (address(deputy), address(from)))
            .into(),
    }
}

fn context<'c>(actor: &'c Principal, people: &'c Electorate) -> Context<'c> {
    Context {
        now: NOW,
        actor,
        may_break_glass: false,
        is_vendor: true,
        people,
        digest: DIGEST,
        overdue: Overdue::Expire,
    }
}

/// A request of Ann's that one approver has to agree to.
fn ann() -> Request {
    Request {
        stage: Stage::Draft,
        requester: person("ann"),
        beneficiary: None,
        editor: person("ann"),
        stages: vec![stage_of(Approvers::Role(Role::Approver), 1)],
        votes: Vec::new(),
        decide_by: None,
        escalated_to: None,
        start_at: None,
        ends_as: None,
        review: None,
    }
}

fn pending() -> Request {
    Request { stage: Stage::PendingApproval, ..ann() }
}

fn approve() -> Act {
    Act::Approve { seen: DIGEST, comment: None }
}

fn acts() -> Vec<Act> {
    let word = || "because of this".to_owned();
    vec![
        Act::Edit,
        Act::Submit,
        Act::Evaluate { automatic: true },
        Act::Evaluate { automatic: false },
        approve(),
        Act::Reject { comment: word() },
        Act::AskInfo { question: word() },
        Act::Answer { answer: word() },
        Act::MarkDuplicate { of: word() },
        Act::Withdraw,
        Act::Expire,
        Act::BreakGlass { reason: word() },
        Act::Review { comment: word() },
        Act::Begin,
        Act::Finish,
        Act::Fail { why: word() },
        Act::Cancel { reason: word() },
        Act::Undone,
        Act::Stick { why: word() },
        Act::RetryUndo,
        Act::Resolve { comment: word() },
    ]
}

fn does(request: &Request, actor: &str, act: Act) -> Result<Step, Refusal> {
    let (actor, people) = (person(actor), people());
    let may = Context { may_break_glass: true, ..context(&actor, &people) };
    step(request, act, &may)
}

/// Every stage and every act of somebody who may do everything, and what comes of it.
#[test]
fn the_table_is_the_one_that_is_kept() {
    let mut table = String::new();
    for stage in Stage::ALL {
        for act in acts() {
            let request = Request { stage, decide_by: Some(NOW), ..ann() };
            // Who asked for it takes it back; somebody else does all the rest.
            let who = if act == Act::Withdraw { "ann" } else { "bob" };
            let code = match &act {
                Act::Evaluate { automatic: true } => "evaluate, automatic".into(),
                act => act.code().to_owned(),
            };
            let told = match does(&request, who, act) {
                Ok(step) => format!("{} ({:?})", step.request.stage, step.event),
                Err(Refusal::WrongStage { .. }) => "-".into(),
                Err(refusal) => refusal.to_string(),
            };
            writeln!(table, "{:20}| {code:20}-> {told}", stage.code()).unwrap();
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/request.txt");
    #[expect(clippy::disallowed_methods, reason = "a test may be told to write its file anew")]
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &table).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), table, "UPDATE_EXPECT=1 writes it anew");
}

#[test]
fn what_is_over_stays_so() {
    for stage in Stage::ALL.into_iter().filter(|stage| stage.is_over()) {
        for act in acts() {
            let request = Request { stage, decide_by: Some(NOW), ..ann() };
            for who in ["ann", "bob", "sam"] {
                assert!(does(&request, who, act.clone()).is_err(), "{stage} {act:?}");
            }
        }
    }
}

#[test]
fn nobody_who_is_involved_agrees() {
    let refused =
        |request: &Request, who: &str| does(request, who, approve()).unwrap_err().to_string();
    assert!(refused(&pending(), "ann").contains("you asked for it"));
    assert!(refused(&pending(), "proxy").contains("you stand in for `ann@x.example`"));
    let edited = Request { editor: person("bob"), ..pending() };
    assert!(refused(&edited, "bob").contains("you edited it last"));
    assert!(refused(&edited, "deputy").contains("you stand in for `bob@x.example`"));
    let gained = Request { beneficiary: Some(address("carl")), ..pending() };
    assert!(refused(&gained, "carl").contains("you gain from it"));
    // Being a Super Admin changes nothing.
    let sam = Request { requester: person("sam"), ..pending() };
    assert!(refused(&sam, "sam").contains("you asked for it"));
    let gail = Request { beneficiary: Some(address("gail")), ..pending() };
    assert!(refused(&gail, "sam").contains("you stand in for `gail@x.example`"));
    for act in [
        Act::Reject { comment: "no".into() },
        Act::AskInfo { question: "why".into() },
        Act::MarkDuplicate { of: "x".into() },
    ] {
        assert!(matches!(does(&pending(), "ann", act), Err(Refusal::Ineligible(_))));
    }
    // A deputy agrees with the right of somebody who is not involved.
    let step = does(&pending(), "deputy", approve()).unwrap();
    assert_eq!(step.request.votes[0].instead_of, Some(address("bob")));
    assert_eq!(step.request.stage, Stage::Approved);
}

#[test]
fn each_stage_takes_people_of_its_own_and_nobody_twice() {
    let stages = vec![
        stage_of(Approvers::Role(Role::Approver), 2),
        stage_of(Approvers::Team("finance".into()), 1),
    ];
    let request = Request { stages, ..pending() };
    let one = does(&request, "bob", approve()).unwrap();
    assert_eq!(one.event, Event::Voted);
    let refused = |who: &str| does(&one.request, who, approve()).unwrap_err();
    assert_eq!(refused("bob"), Ineligible::VotedAlready.into());
    assert_eq!(refused("deputy"), Ineligible::RightUsed(address("bob")).into());
    assert!(matches!(refused("fay"), Refusal::Ineligible(Ineligible::NotAsked { .. })));
    let two = does(&one.request, "sam", approve()).unwrap();
    assert_eq!(two.request.stage, Stage::PendingApproval);
    // Sam is in finance, too, and has agreed already.
    let again = does(&two.request, "sam", approve()).unwrap_err();
    assert_eq!(again, Ineligible::VotedAlready.into());
    let three = does(&two.request, "fay", approve()).unwrap();
    assert_eq!((three.request.stage, three.request.votes.len()), (Stage::Approved, 3));
    let votes: Vec<usize> = three.request.votes.iter().map(|vote| vote.stage).collect();
    assert_eq!(votes, [0, 0, 1]);
}

#[test]
fn a_vote_is_for_what_was_seen() {
    let other = Act::Approve { seen: Hash([9; 32]), comment: None };
    assert_eq!(does(&pending(), "bob", other).unwrap_err(), Ineligible::OtherDigest.into());
    let two = Request { stages: vec![stage_of(Approvers::Role(Role::Approver), 2)], ..pending() };
    let voted = does(&two, "bob", approve()).unwrap().request;
    // What would be granted is another by now: the vote counts no more, and Bob may give it anew.
    let (carl, people) = (person("carl"), people());
    let now = Context { digest: Hash([2; 32]), ..context(&carl, &people) };
    let act = || Act::Approve { seen: Hash([2; 32]), comment: None };
    let after = step(&voted, act(), &now).unwrap();
    assert_eq!((after.event, after.request.votes.len()), (Event::Voted, 1));
    let bob = person("bob");
    let last = step(&after.request, act(), &Context { actor: &bob, ..now }).unwrap();
    assert_eq!(last.request.stage, Stage::Approved);
    // An edit voids them all.
    let edited = does(&voted, "carl", Act::Edit).unwrap().request;
    assert_eq!(
        (edited.stage, edited.votes.len(), edited.editor),
        (Stage::Draft, 0, person("carl"))
    );
    // Whoever comes to stand in for somebody involved loses the vote that they gave.
    let mut later = people.clone();
    later.deputies.insert((address("bob"), address("ann")));
    let dora = person("dora");
    let counted = step(&voted, approve(), &context(&dora, &later)).unwrap();
    assert_eq!((counted.event, counted.request.votes.len()), (Event::Voted, 1));
}

#[test]
fn keys_decide_nothing() {
    let (key, people) = (Principal::Key("key:ci".into()), people());
    for act in [
        approve(),
        Act::Reject { comment: "no".into() },
        Act::BreakGlass { reason: "because of this".into() },
    ] {
        let refused = step(&pending(), act, &context(&key, &people)).unwrap_err();
        assert_eq!(refused, Ineligible::NotAPerson.into());
    }
}

#[test]
fn what_nobody_decides_in_time_has_the_end_that_was_declared() {
    let request = Request { decide_by: Some(NOW), ..pending() };
    let (nobody, people) = (Principal::Key("local:clock".into()), people());
    let expire = |request: &Request, overdue: Overdue<'_>, now: Timestamp| {
        step(request, Act::Expire, &Context { overdue, now, ..context(&nobody, &people) })
    };
    assert_eq!(expire(&request, Overdue::Expire, later(-1)).unwrap_err(), Refusal::NotOverdue);
    assert_eq!(expire(&request, Overdue::Expire, NOW).unwrap().request.stage, Stage::Expired);
    assert_eq!(expire(&request, Overdue::Reject, NOW).unwrap().request.stage, Stage::Rejected);
    let escalate = Overdue::Escalate("finance", later(60));
    let escalated = expire(&request, escalate, NOW).unwrap();
    assert_eq!(escalated.event, Event::Escalated);
    assert_eq!(escalated.request.decide_by, Some(later(60)));
    assert_eq!(does(&escalated.request, "fay", approve()).unwrap().request.stage, Stage::Approved);
    assert!(does(&request, "fay", approve()).is_err());
    let over = expire(&escalated.request, escalate, later(60)).unwrap();
    assert_eq!(over.request.stage, Stage::Expired, "it is escalated once");
}

#[test]
fn whoever_breaks_the_glass_says_why_and_somebody_else_looks_at_it() {
    let act = || Act::BreakGlass { reason: "the clinic opens at 8".into() };
    // Also who asked for it: that is what the glass is for.
    let broken = does(&pending(), "ann", act()).unwrap();
    assert_eq!((broken.event, broken.request.stage), (Event::BrokeGlass, Stage::Approved));
    let review = || Act::Review { comment: "fine".into() };
    assert!(matches!(does(&broken.request, "ann", review()), Err(Refusal::NotTheirs(_))));
    assert!(matches!(does(&broken.request, "proxy", review()), Err(Refusal::Ineligible(_))));
    let fulfilled = Request { stage: Stage::Fulfilled, ..broken.request };
    let reviewed = does(&fulfilled, "bob", review()).unwrap().request;
    assert_eq!((reviewed.stage, reviewed.review.clone()), (Stage::Fulfilled, None));
    assert_eq!(does(&reviewed, "bob", review()), Err(Refusal::NothingToReview));
    let short = Act::BreakGlass { reason: "  please  ".into() };
    assert_eq!(does(&pending(), "ann", short), Err(Refusal::ShortReason));
    let (ann, people) = (person("ann"), people());
    let may_not = step(&pending(), act(), &context(&ann, &people));
    assert_eq!(may_not, Err(Refusal::MayNotBreakGlass));
}

#[test]
fn it_begins_when_it_is_to() {
    let approved = Request { stage: Stage::Approved, start_at: Some(later(60)), ..ann() };
    let waiting = does(&approved, "bob", Act::Begin).unwrap().request;
    assert_eq!(waiting.stage, Stage::Scheduled);
    assert!(does(&waiting, "bob", Act::Begin).is_err());
    let (bob, people) = (person("bob"), people());
    let then = Context { now: later(60), ..context(&bob, &people) };
    assert_eq!(step(&waiting, Act::Begin, &then).unwrap().request.stage, Stage::Provisioning);
}

#[test]
fn what_was_done_is_undone_and_ends_as_it_should() {
    let running = Request { stage: Stage::Provisioning, ..ann() };
    let word = || "the broker says no".to_owned();
    for (act, end) in [
        (Act::Fail { why: word() }, Stage::Failed),
        (Act::Cancel { reason: word() }, Stage::Cancelled),
    ] {
        let undoing = does(&running, "bob", act).unwrap().request;
        assert_eq!(undoing.stage, Stage::Compensating);
        assert_eq!(does(&undoing, "bob", Act::Undone).unwrap().request.stage, end);
        let stuck = does(&undoing, "bob", Act::Stick { why: word() }).unwrap().request;
        assert!(!stuck.stage.is_over(), "an operator has to look at it");
        let again = does(&stuck, "bob", Act::RetryUndo).unwrap().request;
        assert_eq!(does(&again, "bob", Act::Undone).unwrap().request.stage, end);
        let resolved = does(&stuck, "bob", Act::Resolve { comment: word() }).unwrap().request;
        assert_eq!(resolved.stage, end);
    }
}
