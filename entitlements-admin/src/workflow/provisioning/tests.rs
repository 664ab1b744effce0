//! The steps: their whole table, and that every way through them ends.

use std::{fmt::Write, fs, path::Path, time::Duration};

use entitlements_core::Timestamp;
use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_772_323_200_000_000);

fn later(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

fn plan(key: &str, kind: StepKind) -> StepPlan {
    let (required, timeout_s, waits_s) = (true, 3_600, vec![5, 60]);
    StepPlan { key: key.into(), name: key.into(), kind, required, timeout_s, waits_s }
}

fn broker(clean_up: CleanUp) -> StepKind {
    let connector = "partner".into();
    StepKind::Broker { connector, service_id: "s".into(), plan_id: "p".into(), clean_up }
}

fn webhook() -> StepKind {
    StepKind::Webhook { connector: "hook".into() }
}

fn manual(undo: Option<&str>) -> StepKind {
    let undo_instructions = undo.map(Into::into);
    StepKind::Manual { team: None, instructions: "plug it in".into(), undo_instructions }
}

fn at(plan: StepPlan, stage: StepStage, tries: u32) -> Step {
    let run = StepRun { stage, tries, since: Some(NOW), ..StepRun::default() };
    Step { plan, run }
}

fn outcomes() -> Vec<(&'static str, Outcome)> {
    let why = || "why".to_owned();
    vec![
        ("done", Outcome::Done(why())),
        ("accepted", Outcome::Accepted { operation: Some("op".into()), after: None, ask_at: None }),
        ("not yet", Outcome::NotYet { why: why(), after: None }),
        ("retry", Outcome::Retry { why: why(), after: None }),
        ("doubt", Outcome::Doubt { why: why(), after: None }),
        ("orphan, once more", Outcome::Orphan { why: why(), retries: true }),
        ("orphan, for good", Outcome::Orphan { why: why(), retries: false }),
        ("refused", Outcome::Refused(why())),
    ]
}

const DOINGS: [(StepStage, Doing); 8] = [
    (StepStage::Running, Doing::Do),
    (StepStage::Waiting, Doing::Ask),
    (StepStage::Cleaning, Doing::Clean),
    (StepStage::CleaningUp, Doing::Clean),
    (StepStage::CleaningUp, Doing::AskCleaned),
    (StepStage::Undoing, Doing::Undo),
    (StepStage::UndoWaiting, Doing::AskUndone),
    (StepStage::UndoWaiting, Doing::Undo),
];

/// What comes of every answer, in time and late, at the first try and at the last.
#[test]
fn the_table_is_the_one_that_is_kept() {
    let mut table = String::new();
    let kinds = [
        ("broker", plan("b", broker(CleanUp::Immediate))),
        ("broker, held", plan("b", broker(CleanUp::Hold))),
        (
            "wait, optional",
            StepPlan { required: false, ..plan("w", StepKind::Wait { seconds: 5 }) },
        ),
    ];
    for (kind, plan) in kinds {
        for (stage, doing) in DOINGS {
            for (name, outcome) in outcomes() {
                for (when, tries, now) in
                    [("first", 0, NOW), ("last", 11, later(60)), ("late", 0, later(3_600))]
                {
                    let step =
                        at(plan.clone(), stage, tries).after(doing, outcome.clone(), now, 0.0);
                    let due = step.run.due_at.map(|due| due.since(now).as_secs());
                    let due = due.map_or("-".into(), |due| format!("+{due}s"));
                    let stage = stage.code();
                    writeln!(
                        table,
                        "{kind:14} | {stage:12} | {doing:9?} | {name:17} | {when:5} -> {:12} due {due}",
                        step.run.stage.code()
                    )
                    .unwrap();
                }
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/provisioning.txt");
    #[expect(clippy::disallowed_methods, reason = "a test may be told to write its file anew")]
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &table).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), table, "UPDATE_EXPECT=1 writes it anew");
}

#[test]
fn steps_are_done_in_their_order_and_undone_in_the_other_one() {
    let mut steps = vec![
        Step::new(plan("a", webhook())),
        Step::new(plan("b", StepKind::Wait { seconds: 5 })),
        Step::new(plan("c", broker(CleanUp::Immediate))),
    ];
    let mut order = Vec::new();
    while let Next::Step(number, doing, _) = Course::Forward.next(&steps, NOW) {
        order.push((number, doing));
        let begun = steps[number].begun(doing, NOW);
        assert_eq!(begun.run.stage, StepStage::Running);
        steps[number] = begun.after(doing, Outcome::Done(String::new()), NOW, 0.0);
    }
    assert_eq!(order, [(0, Doing::Do), (1, Doing::Do), (2, Doing::Do)]);
    assert_eq!(Course::Forward.next(&steps, NOW), Next::Done);
    let mut order = Vec::new();
    while let Next::Step(number, doing, _) = Course::Back.next(&steps, NOW) {
        order.push((number, doing));
        let begun = steps[number].begun(doing, NOW);
        steps[number] = begun.after(doing, Outcome::Done(String::new()), NOW, 0.0);
    }
    assert_eq!(order, [(2, Doing::Undo), (0, Doing::Undo)], "nothing is left by waiting");
    assert_eq!(Course::Back.next(&steps, NOW), Next::Undone);
}

#[test]
fn only_what_may_have_left_something_is_undone() {
    let steps =
        |stages: [StepStage; 3]| stages.map(|stage| at(plan("x", webhook()), stage, 0)).to_vec();
    use StepStage as S;
    // What failed left nothing, and what has not begun neither.
    let failed = steps([S::Succeeded, S::Failed, S::Pending]);
    assert_eq!(Course::Back.next(&failed, NOW), Next::Step(0, Doing::Undo, NOW));
    // What was just being asked for may have been done.
    let running = steps([S::Succeeded, S::Running, S::Pending]);
    assert_eq!(Course::Back.next(&running, NOW), Next::Step(1, Doing::Undo, NOW));
    let stuck = steps([S::Succeeded, S::UndoFailed, S::Undone]);
    assert_eq!(Course::Back.next(&stuck, NOW), Next::Stuck(1));
    assert_eq!(Course::Back.next(&steps([S::Undone, S::Skipped, S::Pending]), NOW), Next::Undone);
}

#[test]
fn what_is_optional_holds_nothing_up() {
    let optional = StepPlan { required: false, ..plan("o", webhook()) };
    let steps = vec![at(plan("a", webhook()), StepStage::Succeeded, 0), Step::new(optional)];
    assert!(Course::is_ready(&steps), "it is in force already");
    let Next::Step(1, Doing::Do, _) = Course::Forward.next(&steps, NOW) else {
        panic!("{steps:?}")
    };
    let refused = steps[1].after(Doing::Do, Outcome::Refused("no".into()), NOW, 0.0);
    assert_eq!(refused.run.stage, StepStage::Skipped);
}

#[test]
fn what_people_do_they_say() {
    let step = Step::new(plan("m", manual(Some("unplug it")))).begun(Doing::Do, NOW);
    let steps = vec![step.clone()];
    assert_eq!(Course::Forward.next(&steps, NOW), Next::Person(0, Some(later(3_600))));
    assert_eq!(step.told("ann", true, "", NOW).run.stage, StepStage::Succeeded);
    assert_eq!(step.told("ann", false, "no socket", NOW).run.stage, StepStage::Failed);
    let undoing = step.told("ann", true, "", NOW).begun(Doing::Undo, NOW);
    assert_eq!(
        Course::Back.next(std::slice::from_ref(&undoing), NOW),
        Next::Person(0, Some(later(3_600)))
    );
    assert_eq!(undoing.told("ann", true, "", NOW).run.stage, StepStage::Undone);
    let stuck = undoing.told("ann", false, "it is glued", NOW);
    assert_eq!(Course::Back.next(std::slice::from_ref(&stuck), NOW), Next::Stuck(0));
    assert_eq!(stuck.retried(NOW).run.stage, StepStage::Undoing);
    // What nobody can undo is not waited for.
    let left = Step::new(plan("m", manual(None))).begun(Doing::Do, NOW).told("ann", true, "", NOW);
    assert_eq!(Course::Back.next(&[left], NOW), Next::Undone);
}

#[test]
fn what_is_held_waits_for_somebody() {
    let held = at(plan("b", broker(CleanUp::Hold)), StepStage::Running, 0).after(
        Doing::Do,
        Outcome::Orphan { why: "it timed out".into(), retries: true },
        NOW,
        0.0,
    );
    assert_eq!(held.run.stage, StepStage::Held);
    assert_eq!(Course::Forward.next(std::slice::from_ref(&held), NOW), Next::Person(0, None));
    let released = held.told("ann", true, "", NOW);
    assert_eq!(
        Course::Forward.next(std::slice::from_ref(&released), NOW),
        Next::Step(0, Doing::Clean, NOW)
    );
    let cleaned = released.after(Doing::Clean, Outcome::Done(String::new()), NOW, 0.0);
    assert_eq!((cleaned.run.stage, cleaned.run.generation), (StepStage::Failed, 1));
}

proptest! {
    /// Whatever others answer, it comes to an end, nothing is left, and nothing is done after it is
    /// undone.
    #[test]
    fn every_way_ends(answers in prop::collection::vec(0..7_usize, 1..400), cancel_at in 0..60_usize) {
        let kinds = [webhook(), broker(CleanUp::Immediate), StepKind::Wait { seconds: 1 }];
        let mut steps: Vec<Step> =
            kinds.into_iter().enumerate().map(|(n, kind)| Step::new(plan(&format!("s{n}"), kind))).collect();
        let (mut course, mut now, mut turns) = (Course::Forward, NOW, 0);
        let mut answers = answers.into_iter().cycle();
        loop {
            turns += 1;
            if turns == cancel_at {
                course = Course::Back;
            }
            match course.next(&steps, now) {
                Next::Step(number, doing, due) => {
                    now = now.max(due);
                    let begun = steps[number].begun(doing, now);
                    let (_, outcome) = outcomes().swap_remove(answers.next().unwrap());
                    // In the end others remove what they made.
                    let outcome = if turns > 400 { Outcome::Done(String::new()) } else { outcome };
                    steps[number] = begun.after(doing, outcome, now, 0.0);
                }
                Next::Person(number, _) => steps[number] = steps[number].told("x", true, "", now),
                Next::Failed(_) => course = Course::Back,
                Next::Stuck(number) => steps[number] = steps[number].retried(now),
                Next::Done => {
                    prop_assert!(steps.iter().all(|step| step.run.stage == StepStage::Succeeded));
                    break;
                }
                Next::Undone => {
                    let gone = |step: &Step| !step.plan.kind.leaves_something()
                        || matches!(step.run.stage, StepStage::Undone | StepStage::Pending | StepStage::Failed);
                    prop_assert!(steps.iter().all(gone), "{steps:?}");
                    break;
                }
            }
            prop_assert!(turns < 2_000, "it never ends: {steps:?}");
        }
    }
}
