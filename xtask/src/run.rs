//! Runs programs, lets people watch, and remembers how they ended.

use std::{
    ffi::OsString,
    fmt,
    io::{self, BufRead, BufReader, IsTerminal, Read, Write},
    process::{Command, ExitCode, Stdio},
    sync::mpsc,
    thread,
};

/// The cargo that started us, with its first arguments.
#[expect(clippy::disallowed_methods, reason = "cargo tells in the environment where it is")]
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// Becomes a program, as if it had been typed: Ctrl-C reaches it and nothing else.
#[cfg(unix)]
pub(crate) fn hand_over(mut command: Command, arguments: &[OsString]) -> ExitCode {
    let error = std::os::unix::process::CommandExt::exec(command.args(arguments));
    eprintln!("cannot start {command:?}: {error}");
    ExitCode::FAILURE
}

/// Runs a program as if it had been typed, and ends as it ends.
#[cfg(not(unix))]
pub(crate) fn hand_over(mut command: Command, arguments: &[OsString]) -> ExitCode {
    match command.args(arguments).status() {
        Ok(status) => ExitCode::from(status.code().and_then(|c| c.try_into().ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("cannot start {command:?}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What was run and how it ended.
#[derive(Default)]
pub(crate) struct Summary {
    steps: Vec<(String, Result<(), String>)>,
    passed: u64,
    failed: u64,
    skipped: Vec<String>,
}

impl Summary {
    pub(crate) fn is_good(&self) -> bool {
        self.steps.iter().all(|(_, end)| end.is_ok())
    }

    /// Runs a program as a step, and says whether it went well. What it prints is shown, and
    /// searched for results of tests.
    pub(crate) fn step(&mut self, name: &str, command: Command) -> bool {
        eprintln!("\n── {name} ──");
        let end = self.watch(command);
        let good = end.is_ok();
        self.note(name, end);
        good
    }

    /// Remembers how a step ended.
    pub(crate) fn note(&mut self, name: &str, end: Result<(), String>) {
        self.steps.push((name.into(), end));
    }

    fn watch(&mut self, mut command: Command) -> Result<(), String> {
        if io::stderr().is_terminal() {
            command.env("CARGO_TERM_COLOR", "always");
        }
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {command:?}: {error}"))?;
        let (lines, seen) = mpsc::channel();
        let (out, err) = (child.stdout.take(), child.stderr.take());
        thread::scope(|scope| {
            let also = lines.clone();
            scope.spawn(move || copy(out, &mut io::stdout(), &lines));
            scope.spawn(move || copy(err, &mut io::stderr(), &also));
            seen.iter().for_each(|line: String| self.read(&line));
        });
        let status = child.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(status.to_string()) }
    }

    /// Picks the counts of passed and failed tests, and what tests say they skipped.
    fn read(&mut self, line: &str) {
        if let Some(what) = line.strip_prefix("skipped: ") {
            self.skipped.push(what.into());
        }
        if line.starts_with("test result: ") {
            self.passed += number_before(line, " passed");
            self.failed += number_before(line, " failed");
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, end) in &self.steps {
            match end {
                Ok(()) => writeln!(f, "ok       {name}")?,
                Err(why) => writeln!(f, "FAILED   {name}: {why}")?,
            }
        }
        for what in &self.skipped {
            writeln!(f, "skipped  {what}")?;
        }
        writeln!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed,
            self.failed,
            self.skipped.len()
        )
    }
}

/// Copies a stream line by line and tells about each line.
fn copy(from: Option<impl Read>, to: &mut impl Write, lines: &mpsc::Sender<String>) {
    let Some(from) = from else { return };
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        // Nobody may be watching any more; the results count all the same.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        let _ = lines.send(String::from_utf8_lossy(&line).trim_end().into());
        line.clear();
    }
}

fn number_before(line: &str, word: &str) -> u64 {
    let before = line.split(word).next().unwrap_or_default();
    let digits = before.rsplit(' ').next().unwrap_or_default();
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn results_and_skipped_tests_are_picked_up() {
        let mut summary = Summary::default();
        for line in [
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out",
            "skipped: node clients: no npm",
            "test skipped: this is the name of a test ... ok",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
        ] {
            summary.read(line);
        }
        summary.note("tests", Ok(()));
        assert_eq!(
            summary.to_string(),
            "ok       tests\nskipped  node clients: no npm\n15 passed, 2 failed, 1 skipped\n"
        );
    }

    #[test]
    fn a_step_that_fails_or_cannot_start_makes_it_bad() {
        let mut failing = Summary::default();
        failing.step("a", shell("exit 3"));
        assert!(!failing.is_good());
        let mut missing = Summary::default();
        missing.step("b", Command::new("there-is-no-such-program"));
        assert!(!missing.is_good());
        assert!(missing.to_string().starts_with("FAILED   b: cannot start"), "{missing}");
    }
}
