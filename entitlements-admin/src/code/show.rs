//! Changes and their effect, for people.

use std::{
    fmt::{self, Display, Write},
    io::{IsTerminal, stdout},
};

use entitlements_admin::{
    app::{Preview, PreviewInstant},
    config,
    workflow::draft::Changes,
};
use entitlements_core::{Direction, Impact, MilestoneKind};

/// Changes, a line for each: green what comes, red what goes, yellow what is another one.
pub(super) fn changes(changes: &Changes) -> String {
    let has_colours = stdout().is_terminal() && !config::wants_no_colours();
    let text = changes.to_string();
    if has_colours { text.split_inclusive('\n').map(coloured).collect() } else { text }
}

fn coloured(line: &str) -> String {
    let colour = match line.as_bytes().first() {
        Some(b'+') => 32,
        Some(b'-') => 31,
        _ => 33,
    };
    format!("\u{1b}[{colour}m{}\u{1b}[0m\n", line.trim_end_matches('\n'))
}

/// So many of something.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// What a change does to tenants, now and later.
pub(super) struct Effect<'p>(pub(super) &'p Preview);

impl Display for Effect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Preview { instants, cut_off, .. } = self.0;
        let mut last: Option<&Impact> = None;
        for PreviewInstant { events, impact } in instants {
            // What comes later is told where it is not what was told before.
            if last.is_some_and(|last| Impact { at: last.at, ..impact.clone() } == *last) {
                continue;
            }
            if last.is_none() {
                writeln!(f, "At once:")?;
            } else {
                let events: Vec<_> = events
                    .iter()
                    .map(|event| format!("{} {}", event.source, happens(event.kind)))
                    .collect();
                writeln!(f, "From {}, when {}:", impact.at, events.join(", "))?;
            }
            effect(f, impact)?;
            last = Some(impact);
        }
        if *cut_off {
            writeln!(f, "There are later instants that were not looked at.")?;
        }
        Ok(())
    }
}

fn happens(kind: MilestoneKind) -> &'static str {
    match kind {
        MilestoneKind::Starts => "starts",
        MilestoneKind::Ends => "ends",
        MilestoneKind::ReachesNew => "has a version for new subscriptions",
        MilestoneKind::ReachesExisting => "has a version for existing subscriptions",
    }
}

fn effect(f: &mut fmt::Formatter<'_>, impact: &Impact) -> fmt::Result {
    let all = &impact.all;
    writeln!(
        f,
        "  {} of {} tenants get other answers, {} lose something",
        all.changed, all.tenants, all.losing
    )?;
    for (feature, tally) in &all.features {
        let mut line = String::new();
        for way in Direction::ALL.into_iter().filter(|way| tally.of(*way) > 0) {
            write!(line, ", {} {}", tally.of(way), way.code())?;
        }
        writeln!(f, "  {feature}: {}", line.trim_start_matches(", "))?;
    }
    for add_on in &impact.suspended {
        write!(f, "  add-on {} is suspended for {}", add_on.add_on, add_on.tenants)?;
        writeln!(f, ", such as {}", add_on.sample.join(", "))?;
    }
    for above in &impact.above_limit {
        let sample: Vec<_> = above
            .sample
            .iter()
            .map(|one| format!("{} (uses {}, may {})", one.tenant, one.used, one.after))
            .collect();
        write!(f, "  {} use more {} than they may then", above.tenants, above.feature)?;
        writeln!(f, ", such as {}", sample.join(", "))?;
    }
    Ok(())
}
