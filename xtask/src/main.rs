//! `cargo xtask <command>`: the commands that people who work on Entitlements type.

mod clients;
mod run;

use std::{ffi::OsString, process::ExitCode};

use run::Summary;

const HELP: &str = "\
cargo xtask <command>

  demo [flags]       Start admin and sidecar together with 2,000 clinics, and print what to try.
                     --admin 127.0.0.1:7400     where the admin listens
                     --sidecar 127.0.0.1:7401   where the sidecar listens (port 0: any free one)
                     --data ./entitlements-data what it keeps; delete it to begin anew
  test [--install]   Run every test: units, properties, scenarios, documentation, real clients.
                     Real clients come from npm and PyPI. With --install they are fetched into
                     `target/clients`; without, missing ones are named in the summary as skipped.
  ci                 What a change must pass: test --install, fmt, clippy, docs. Warnings fail.
  bench [filter]     Run the benches; `docs/performance.md` says what they mean.
  help               Print this.

To try it: cargo xtask demo
Before you send a change: cargo xtask ci
";

/// The exit code for a command line that makes no sense (`EX_USAGE`).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next().unwrap_or_else(|| "help".into());
    let rest: Vec<OsString> = arguments.collect();
    match (command.to_str(), rest.as_slice()) {
        (Some("help" | "--help" | "-h"), _) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        (Some("demo"), flags) => demo(flags),
        (Some("test"), []) => finish(&test(false)),
        (Some("test"), [flag]) if flag == "--install" => finish(&test(true)),
        (Some("ci"), []) => finish(&ci()),
        (Some("bench"), filter) => bench(filter),
        (Some("test" | "ci"), [odd, ..]) => {
            usage(&format!("`{}` does not fit here", odd.display()))
        }
        _ => usage(&format!("there is no command `{}`", command.display())),
    }
}

fn usage(what: &str) -> ExitCode {
    eprintln!("{what}; `cargo xtask help` lists what there is");
    ExitCode::from(USAGE)
}

fn finish(summary: &Summary) -> ExitCode {
    eprint!("\n{summary}");
    if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn demo(flags: &[OsString]) -> ExitCode {
    eprintln!("Building the demo. The first time takes a few minutes.");
    let cargo = run::cargo(&["run", "--quiet", "--release", "--example", "demo", "--"]);
    run::hand_over(cargo, flags)
}

fn bench(filter: &[OsString]) -> ExitCode {
    run::hand_over(run::cargo(&["bench", "--package", "entitlements", "--"]), filter)
}

fn test(install: bool) -> Summary {
    let mut summary = Summary::default();
    if install {
        clients::install(&mut summary);
    }
    let mut tests = run::cargo(&["test", "--workspace", "--all-features", "--no-fail-fast"]);
    if install {
        tests.env("ENTITLEMENTS_CLIENTS", "required");
    }
    summary.step("tests", tests);
    summary
}

fn ci() -> Summary {
    let mut summary = test(true);
    summary.step("format", run::cargo(&["fmt", "--all", "--check"]));
    let clippy =
        ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    summary.step("clippy", run::cargo(&clippy));
    let bare = ["check", "--package", "entitlements-core", "--no-default-features"];
    summary.step("core without features", run::cargo(&bare));
    let mut docs = run::cargo(&["doc", "--workspace", "--all-features", "--no-deps"]);
    docs.env("RUSTDOCFLAGS", "-D warnings");
    summary.step("docs", docs);
    summary
}
