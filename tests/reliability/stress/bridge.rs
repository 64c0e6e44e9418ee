//! A buildout that talks to the cache through the bridge: one process, many requests.

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
    /// Starts a bridge and opens the cache; an error if it is killed before that.
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
                assert_eq!((&opened["read_only"], &opened["torn"]), (&json!(false), &json!([])));
                Ok(bridge)
            }
        }
    }

    /// The answer to a request; `None` if the bridge is killed before it answers.
    fn ask(&mut self, request: &Value) -> Option<Value> {
        // Writing to a bridge that was killed is no error here.
        let _ = writeln!(self.process.stdin.as_mut()?, "{request}");
        let mut answer = self.process.line()?;
        while answer.starts_with("{\"busy\":") {
            answer = self.process.line()?;
        }
        self.process.lives();
        assert!(is_calm(&answer), "{request} got the answer {answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_ne!(answer["kind"], "failure", "{request} got the answer {answer}");
        Some(answer)
    }

    pub fn find(&mut self, name: &str) -> Option<Vec<Value>> {
        let answer = self.ask(&json!({"op": "find", "name": name, "variant": ""}))?;
        Some(answer["eggs"].as_array().unwrap().clone())
    }

    pub fn materialize(&mut self, digest: &str, into: &Path) -> Option<Value> {
        self.ask(&json!({"op": "materialize", "digest": digest, "into": into}))
    }

    /// Queues an egg to be stored.
    pub fn store(&mut self, egg: &Path) -> Option<()> {
        let answer =
            self.ask(&json!({"op": "store", "path": egg, "source_sha256": "", "variant": ""}))?;
        assert_eq!(answer, json!({"outcome": "queued"}));
        Some(())
    }

    /// Waits for the queued eggs and returns their outcomes.
    pub fn settle(&mut self) -> Option<Vec<Value>> {
        let answer = self.ask(&json!({"op": "settle"}))?;
        assert!(answer["failure"].is_null(), "{answer}");
        Some(answer["outcomes"].as_array().unwrap().clone())
    }

    /// Ends with a `close` request, or only closes the input, as a dying buildout does.
    pub fn end(mut self, close: bool) -> Ended {
        if close && let Some(answer) = self.ask(&json!({"op": "close"})) {
            assert!(answer["warnings"].is_null() && answer["error"].is_null(), "{answer}");
        }
        self.process.end()
    }
}
