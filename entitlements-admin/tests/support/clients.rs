//! Programs of others, from npm and `PyPI`, that receive and check what connectors send. They are
//! fetched by `cargo xtask test --install`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{skip::skip, support::DEADLINE};

/// In which language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Node,
    Python,
}

pub(crate) const BOTH: [Language; 2] = [Language::Node, Language::Python];

/// A program that is running.
pub(crate) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Starts one, by the name of its script without its ending. Nothing where it is not fetched.
    pub(crate) async fn start(
        language: Language,
        name: &str,
        argument: Option<&Value>,
    ) -> Option<Self> {
        let (program, script) = place(language, name)?;
        let mut command = Command::new(program);
        command.arg(script).args(argument.map(Value::to_string));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Some(Self { child, input, lines })
    }

    /// The next line that it prints.
    pub(crate) async fn said(&mut self) -> Value {
        let line = tokio::time::timeout(DEADLINE, self.lines.next_line()).await;
        let line = line.expect("it says something").unwrap().expect("it has not ended");
        serde_json::from_str(&line).unwrap()
    }

    /// Starts one, and waits until it is ready.
    pub(crate) async fn ready(
        language: Language,
        name: &str,
        argument: Option<&Value>,
    ) -> Option<(Self, Value)> {
        let mut program = Self::start(language, name, argument).await?;
        let said = program.said().await;
        assert_eq!(said["ready"], true, "{said}");
        Some((program, said))
    }

    /// Its answer to one line.
    pub(crate) async fn ask(&mut self, line: &Value) -> Value {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        input.flush().await.unwrap();
        self.said().await
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(mut self) -> bool {
        drop(self.input.take());
        tokio::time::timeout(DEADLINE, self.child.wait()).await.unwrap().unwrap().success()
    }
}

/// What a verifier says of a signed message: for each library, `true` or why not.
pub(crate) async fn verify(
    program: &mut Program,
    secret: &str,
    headers: &Value,
    body: &str,
) -> Vec<Value> {
    let asked = json!({ "secret": secret, "headers": headers, "body": body });
    let said = program.ask(&asked).await;
    vec![said["standardwebhooks"].clone(), said["svix"].clone()]
}

/// The program and the script; nothing where they are not fetched.
fn place(language: Language, name: &str) -> Option<(PathBuf, PathBuf)> {
    let (folder, is_fetched) = match language {
        Language::Node => ("connectors", "node_modules"),
        // The SDK of `OpenFeature` has packages of its own.
        Language::Python if name == "ofrep" => ("python", "env/bin/python"),
        Language::Python => ("connectors-python", "env/bin/python"),
    };
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/clients").join(folder);
    let test = env::current_exe().unwrap();
    let fetched = test.ancestors().nth(3).unwrap().join("clients").join(folder);
    if !fetched.join(is_fetched).exists() {
        skip(&format!("{name} from {folder}"), "`cargo xtask test --install` fetches it");
        return None;
    }
    match language {
        Language::Node => {
            Some(("node".into(), beside(&source, &fetched).join(format!("{name}.mjs"))))
        }
        Language::Python => Some((fetched.join(is_fetched), source.join(format!("{name}.py")))),
    }
}

/// Node looks for packages beside the script: the scripts are put there once.
fn beside(source: &Path, fetched: &Path) -> PathBuf {
    static PUT: OnceLock<()> = OnceLock::new();
    PUT.get_or_init(|| {
        for entry in fs::read_dir(source).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "mjs") {
                fs::copy(&path, fetched.join(path.file_name().unwrap())).unwrap();
            }
        }
    });
    fetched.to_path_buf()
}
