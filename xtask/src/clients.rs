//! Fetches the real clients that tests drive: packages of npm and `PyPI`, into `target/clients`.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::run::Summary;

/// Fetches what is not there yet, and notes how it went.
pub(crate) fn install(summary: &mut Summary) {
    for packages in [NODE, UNLEASH, CONNECTORS, PYTHON, CONNECTORS_PYTHON, CONTRACT] {
        if let Err(error) = packages.install(summary) {
            summary.note(packages.name, Err(error.to_string()));
        }
    }
}

/// A folder of `tests/clients` and what its files ask for.
struct Packages {
    name: &'static str,
    folder: &'static str,
    /// The files that say what is wanted, the deciding one first.
    files: &'static [&'static str],
    /// How to fetch it into a folder where those files lie.
    fetch: fn(&Path) -> Vec<(&'static str, Command)>,
}

const NODE: Packages = Packages {
    name: "npm packages",
    folder: "node",
    files: &["package-lock.json", "package.json", ".npmrc"],
    fetch: |folder| {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(folder);
        vec![("npm packages", npm)]
    },
};

/// Unleash's server, with the Node that it needs. It is only ever a process of its own.
const UNLEASH: Packages = Packages {
    name: "Unleash",
    folder: "unleash",
    files: &["package-lock.json", "package.json", ".npmrc"],
    fetch: |folder| {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder);
        vec![("Unleash", npm)]
    },
};

/// What receives and checks what connectors send.
const CONNECTORS: Packages = Packages {
    name: "npm packages of connectors",
    folder: "connectors",
    files: &["package-lock.json", "package.json", ".npmrc"],
    fetch: |folder| {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder);
        vec![("npm packages of connectors", npm)]
    },
};

const CONNECTORS_PYTHON: Packages = Packages {
    name: "PyPI packages of connectors",
    folder: "connectors-python",
    files: &["requirements.txt"],
    fetch: python,
};

const PYTHON: Packages = Packages {
    name: "PyPI packages",
    folder: "python",
    files: &["requirements.txt"],
    fetch: python,
};

const CONTRACT: Packages = Packages {
    name: "PyPI packages that test the API",
    folder: "contract",
    files: &["requirements.txt"],
    fetch: python,
};

/// An environment in the folder, with what is asked for.
fn python(folder: &Path) -> Vec<(&'static str, Command)> {
    let environment = folder.join("env");
    let mut create = Command::new("python3");
    create.args(["-m", "venv", "--clear"]).arg(&environment);
    let mut pip = Command::new(environment.join("bin").join("python"));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--requirement"]);
    pip.arg(folder.join("requirements.txt"));
    vec![("Python environment", create), ("PyPI packages", pip)]
}

/// Stands beside what was fetched and holds the file that asked for it.
const FETCHED: &str = "fetched";

impl Packages {
    fn install(&self, summary: &mut Summary) -> io::Result<()> {
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/clients").join(self.folder);
        let folder = target()?.join("clients").join(self.folder);
        let wanted =
            self.files.first().map_or(Ok(Vec::new()), |file| fs::read(source.join(file)))?;
        if fs::read(folder.join(FETCHED)).is_ok_and(|fetched| fetched == wanted) {
            return Ok(());
        }
        fs::create_dir_all(&folder)?;
        for file in self.files {
            fs::copy(source.join(file), folder.join(file))?;
        }
        let fetched =
            (self.fetch)(&folder).into_iter().all(|(name, command)| summary.step(name, command));
        if fetched { fs::write(folder.join(FETCHED), wanted) } else { Ok(()) }
    }
}

/// The folder that cargo builds into: two above this program.
fn target() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    program.ancestors().nth(2).map(Path::to_path_buf).ok_or_else(|| {
        io::Error::other("this program lies in no target folder; start it as `cargo xtask`")
    })
}
