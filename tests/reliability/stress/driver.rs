//! The processes that run: killed at random moments, and never waited for without an end.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Far more than any command needs, and more than SQLite's time-out for a lock.
const STUCK: Duration = Duration::from_mins(2);
const SIGKILL: i32 = 9;

/// What runs now. One thread [`watch`](Self::watch)es it.
#[derive(Default)]
pub struct Processes {
    running: Mutex<BTreeMap<u32, Running>>,
    stop: AtomicBool,
    killed: AtomicUsize,
}

struct Running {
    /// Not reaped before it leaves the table, so its number is no other process's.
    child: Child,
    what: String,
    begun: Instant,
    dies: Option<Instant>,
    killed: bool,
}

/// How a process ended.
pub struct Ended {
    /// `None` if it was killed.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub what: String,
}

impl Ended {
    /// Its report.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, stdout, stderr, what } = self;
        write!(out, "`{what}` ended with {code:?}\n{stdout}{stderr}")
    }
}

impl Processes {
    /// How many died of a kill, rather than being faster.
    pub fn killed(&self) -> usize {
        self.killed.load(Ordering::Relaxed)
    }

    /// Whether a worker has failed, and the others need not go on.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<u32, Running>> {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Kills what is to die, until it is stopped and nothing runs.
    ///
    /// # Panics
    /// If a process takes too long, after telling what ran and killing all of it.
    pub fn watch(&self) {
        while !self.stopped() || !self.running().is_empty() {
            let now = Instant::now();
            let mut running = self.running();
            for process in running.values_mut() {
                if process.dies.is_some_and(|dies| dies < now) {
                    (process.dies, process.killed) = (None, true);
                    process.child.kill().unwrap();
                }
            }
            if running.values().any(|process| now - process.begun > STUCK) {
                self.stop();
                let dump = running.iter().fold(String::new(), |mut dump, (pid, process)| {
                    let seconds = (now - process.begun).as_secs();
                    let _ = writeln!(dump, "{seconds} s, {}{}", process.what, threads_of(*pid));
                    dump
                });
                running.values_mut().for_each(|process| process.child.kill().unwrap());
                drop(running);
                panic!("a process is stuck. These ran:\n{dump}");
            }
            drop(running);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Starts a process that is killed after `dies`, unless it ends before.
    pub fn start(
        &self,
        mut command: Command,
        what: String,
        stdin: Stdio,
        dies: Option<Duration>,
    ) -> Process<'_> {
        // A file, as a second pipe would have to be read beside the first.
        let stderr = tempfile::tempfile().unwrap();
        command.stdin(stdin).stdout(Stdio::piped()).stderr(stderr.try_clone().unwrap());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let pid = child.id();
        let begun = Instant::now();
        let dies = dies.map(|dies| begun + dies);
        self.running().insert(pid, Running { child, what, begun, dies, killed: false });
        Process { processes: self, pid, stdin, stdout, stderr }
    }

    pub fn run(&self, command: Command, what: String, dies: Option<Duration>) -> Ended {
        self.start(command, what, Stdio::null(), dies).end()
    }
}

/// Whether a process that says this has met neither a lock nor a bug.
pub fn is_calm(said: &str) -> bool {
    !said.contains("is locked") && !said.contains("panicked")
}

/// What each thread of a process waits in.
fn threads_of(pid: u32) -> String {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.fold(String::new(), |mut text, task| {
        let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let _ = write!(text, "\n    in {}, system call {}", read("wchan"), read("syscall").trim());
        text
    })
}

/// A process that runs.
pub struct Process<'p> {
    processes: &'p Processes,
    pid: u32,
    pub stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    stderr: File,
}

impl Process<'_> {
    /// The next line; `None` at its end, however it ended.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line);
        // Killed in the middle of a line, it has not said it.
        (read.is_ok() && line.ends_with('\n')).then_some(line)
    }

    /// Begins the time that it may take anew: it has answered.
    pub fn lives(&self) {
        if let Some(running) = self.processes.running().get_mut(&self.pid) {
            running.begun = Instant::now();
        }
    }

    /// Waits for the end, and asserts that nothing but the watch has killed it.
    ///
    /// # Panics
    /// If a signal killed it that was not sent from here, or if it panicked or met a lock.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        drop(self.stdin.take());
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).unwrap();
        // Whoever has closed its output is about to end.
        let Running { mut child, what, killed, .. } =
            self.processes.running().remove(&self.pid).unwrap();
        let status = child.wait().unwrap();
        let mut stderr = String::new();
        self.stderr.rewind().unwrap();
        self.stderr.read_to_string(&mut stderr).unwrap();
        let ended = Ended { code: status.code(), stdout, stderr, what };
        if let Some(signal) = status.signal() {
            assert!(signal == SIGKILL && killed, "killed by {signal}: {ended}");
            self.processes.killed.fetch_add(1, Ordering::Relaxed);
        }
        assert!(is_calm(&ended.stdout) && is_calm(&ended.stderr), "{ended}");
        ended
    }
}

impl Drop for Process<'_> {
    /// Leaves nothing behind a worker that has failed.
    fn drop(&mut self) {
        if let Some(mut running) = self.processes.running().remove(&self.pid) {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}
