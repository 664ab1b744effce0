//! The whole machine as a table in a golden file: every stage, every act, in every situation.
//!
//! `UPDATE_EXPECT=1 cargo test -p entitlements-admin table` writes it anew.

use std::{fmt::Write as _, fs, path::Path};

use super::*;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/publication.txt");

/// A word for a situation, what it means, and what it changes about a context in which Bob, who
/// may publish without approval, acts on what Ann edited.
type Situation = (&'static str, &'static str, fn(&mut Context<'_>));

const SITUATIONS: [Situation; 12] = [
    ("other", "somebody else than the last editor; clean; four eyes", |_| ()),
    ("editor", "the last editor", |_| ()),
    ("key", "a key without a person", |_| ()),
    ("powerless", "somebody who may not publish without approval", |context| {
        context.may_break_glass = false;
    }),
    ("two", "two approvals are needed", |context| context.policy.approvals = 2),
    ("digest", "the digest is another one than that of the votes", |context| {
        context.effect.digest = digest(2);
    }),
    ("grown", "more tenants lose something than the voters saw", |context| {
        context.effect.losing += 1;
    }),
    ("unclean", "a conflict with the live catalog", |context| context.effect.conflicts = 1),
    ("unchanged", "the catalog would be what it is", |context| context.effect.is_unchanged = true),
    ("below", "four eyes are off, and no more tenants lose than the threshold", |context| {
        context.policy = Policy { four_eyes: false, approvals: 1, threshold: EFFECT.losing };
    }),
    ("above", "four eyes are off, and more tenants lose than the threshold", |context| {
        context.policy = Policy { four_eyes: false, approvals: 1, threshold: EFFECT.losing - 1 };
    }),
    ("first", "nothing is live", |context| context.effect.is_first = true),
];

fn acts() -> Vec<(&'static str, Act)> {
    vec![
        ("edit", Act::Edit),
        ("submit", Act::Submit),
        ("withdraw", Act::Withdraw),
        ("approve what stands there", Act::Approve { digest: EFFECT.digest }),
        ("approve something else", Act::Approve { digest: digest(9) }),
        ("reject with a comment", Act::Reject { comment: "fewer seats".into() }),
        ("reject without a comment", Act::Reject { comment: String::new() }),
        ("schedule in the future", Act::Schedule { at: later(1) }),
        ("schedule now", Act::Schedule { at: NOW }),
        ("unschedule", Act::Unschedule),
        ("publish", Act::Publish),
        ("break_glass with a reason", Act::BreakGlass { reason: "all are down".into() }),
        ("break_glass without a reason", Act::BreakGlass { reason: "now".into() }),
        ("discard", Act::Discard),
        ("roll_back", Act::RollBack),
    ]
}

/// A publication as it comes to a stage, with Carl's vote where it has one.
fn in_stage(stage: Stage) -> Publication {
    let mut publication = Publication { stage, ..Publication::new(person("ann")) };
    if matches!(stage, Stage::Approved | Stage::Scheduled | Stage::Published | Stage::RolledBack) {
        let Effect { digest, losing, .. } = EFFECT;
        publication.votes = vec![Vote { by: person("carl"), at: NOW, digest, losing }];
    }
    publication.publish_at = (stage == Stage::Scheduled).then_some(later(5));
    publication
}

fn cell(stage: Stage, act: &Act, (name, _, change): Situation) -> String {
    let actor = match name {
        "editor" => person("ann"),
        "key" => Principal::Key("ci".into()),
        _ => person("bob"),
    };
    let mut context = Context { may_break_glass: true, ..context(&actor) };
    change(&mut context);
    let act = match act {
        // What stands there is what is there now.
        Act::Approve { digest } if *digest == EFFECT.digest => {
            Act::Approve { digest: context.effect.digest }
        }
        act => act.clone(),
    };
    match step(&in_stage(stage), act, &context) {
        Err(refusal) => format!("({})", refusal.code()),
        Ok(Step { publication, event: Event::SentBack(refusal) }) => {
            format!("{} ({})", publication.stage, refusal.code())
        }
        Ok(Step { publication, .. }) => {
            let votes = match publication.votes.len() {
                0 => String::new(),
                count => format!(" +{count}"),
            };
            format!("{}{votes}", publication.stage)
        }
    }
}

/// Situations that lead to the same stand together in a line.
fn table() -> String {
    let mut text = String::from(
        "Every stage, every act, in every situation. A word is the stage that it leads to, `+1` the\n\
         votes that it has then, a word in brackets why it is refused. Both: it is refused and goes\n\
         back. Ann edited last and Carl has voted. Bob acts, who may publish without approval, but:\n\n",
    );
    for (name, meaning, _) in SITUATIONS {
        writeln!(text, "  {name:<10} {meaning}").unwrap();
    }
    for (title, act) in acts() {
        writeln!(text, "\n{title}").unwrap();
        for stage in Stage::ALL {
            let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
            for situation in SITUATIONS {
                let cell = cell(stage, &act, situation);
                match lines.iter_mut().find(|(known, _)| *known == cell) {
                    Some((_, names)) => names.push(situation.0),
                    None => lines.push((cell, vec![situation.0])),
                }
            }
            for (index, (cell, names)) in lines.iter().enumerate() {
                let stage = if index == 0 { stage.code() } else { "" };
                let names = if lines.len() == 1 { "always".into() } else { names.join(", ") };
                writeln!(text, "  {stage:<12} {cell:<31} {names}").unwrap();
            }
        }
    }
    text
}

#[test]
#[expect(clippy::disallowed_methods, reason = "whoever runs the test says that it shall write")]
fn the_table_is_what_is_written_down() {
    let table = table();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::create_dir_all(Path::new(GOLDEN).parent().unwrap()).unwrap();
        fs::write(GOLDEN, &table).unwrap();
    }
    let expected = fs::read_to_string(GOLDEN).unwrap_or_default();
    assert!(
        table == expected,
        "the table is another one than in {GOLDEN}; UPDATE_EXPECT=1 writes it anew:\n{table}"
    );
}
