//! A buildout that talks to the cache: one process, many requests.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::driver::{Ended, Process, Processes, is_calm};
use crate::support::{EGGCACHE, Sandbox, host};

pub struct Bridge<'p> {
    process: Process<'p>,
}

impl<'p> Bridge<'p> {
    /// A bridge that has opened the cache; `None` if it was killed before that.
    pub fn open(
        processes: &'p Processes,
        sandbox: &Sandbox,
        what: String,
        dies: Option<Duration>,
    ) -> Result<Self, Ended> {
        let mut command = sandbox.process(EGGCACHE);
        command.arg("serve");
        let mut bridge = Self { process: processes.start(command, what, Stdio::piped(), dies) };
        if bridge.process.line().is_none() {
            return Err(bridge.process.end());
        }
        let host = host();
        let cache = sandbox.path("cache");
        let open = json!({
            "op": "open", "cache": cache, "host": host, "buildout": "5.1.0", "setuptools": "80.0.0",
        });
        match bridge.ask(&open) {
            None => Err(bridge.process.end()),
            Some(opened) => {
                assert_eq!(opened, json!({"read_only": false, "torn": []}));
                Ok(bridge)
            }
        }
    }

    /// The answer to a request; `None` if the bridge was killed before it had answered.
    fn ask(&mut self, request: &Value) -> Option<Value> {
        // It does not read what it is sent after its death, which is no error.
        let _ = writeln!(self.process.stdin.as_mut()?, "{request}");
        let answer = self.process.line()?;
        self.process.lives();
        assert!(is_calm(&answer), "{request} was answered {answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_ne!(answer["kind"], "failure", "{request} was answered {answer}");
        Some(answer)
    }

    pub fn find(&mut self, name: &str) -> Option<Vec<Value>> {
        let answer = self.ask(&json!({"op": "find", "name": name, "variant": ""}))?;
        Some(answer["eggs"].as_array().unwrap().clone())
    }

    pub fn materialize(&mut self, digest: &str, into: &Path) -> Option<Value> {
        self.ask(&json!({"op": "materialize", "digest": digest, "into": into}))
    }

    /// Has an egg stored, in a while.
    pub fn store(&mut self, egg: &Path) -> Option<()> {
        let answer =
            self.ask(&json!({"op": "store", "path": egg, "source_sha256": "", "variant": ""}))?;
        assert_eq!(answer, json!({"outcome": "queued"}));
        Some(())
    }

    /// What became of the eggs that were to be stored.
    pub fn settle(&mut self) -> Option<Vec<Value>> {
        let answer = self.ask(&json!({"op": "settle"}))?;
        assert!(answer["failure"].is_null(), "{answer}");
        Some(answer["outcomes"].as_array().unwrap().clone())
    }

    /// Says that it is over, or only ends the input, as a buildout does that dies.
    pub fn end(mut self, close: bool) -> Ended {
        if close && let Some(answer) = self.ask(&json!({"op": "close"})) {
            assert_eq!(answer, json!({}));
        }
        self.process.end()
    }
}
