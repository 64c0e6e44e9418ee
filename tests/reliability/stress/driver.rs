//! Runs the processes: kills some at random moments and never waits forever for any.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Far longer than any command needs, and longer than SQLite's time-out for a lock.
const STUCK: Duration = Duration::from_mins(2);
const SIGKILL: i32 = 9;

/// The running processes. One thread [`watch`](Self::watch)es them.
#[derive(Default)]
pub struct Processes {
    running: Mutex<BTreeMap<u32, Running>>,
    stop: AtomicBool,
    killed: AtomicUsize,
}

struct Running {
    /// Not reaped while it is in the table, so no other process can get its number.
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
    /// The report it printed.
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
    /// How many processes were killed before they ended by themselves.
    pub fn killed(&self) -> usize {
        self.killed.load(Ordering::Relaxed)
    }

    /// Whether a worker has failed, so that the others can stop.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<u32, Running>> {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Kills processes when their time comes, until it is stopped and none is running.
    ///
    /// # Panics
    /// If a process takes too long. The message lists what was running; all of it is killed.
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
                panic!("a process is stuck. Running:\n{dump}");
            }
            drop(running);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Starts a process and kills it after `dies`, unless it ends earlier.
    pub fn start(
        &self,
        mut command: Command,
        what: String,
        stdin: Stdio,
        dies: Option<Duration>,
    ) -> Process<'_> {
        // A file, because a second pipe would have to be read in parallel.
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

/// Whether the output mentions neither a lock nor a panic.
pub fn is_calm(said: &str) -> bool {
    !said.contains("is locked") && !said.contains("panicked")
}

/// The wait channel and system call of each thread of a process.
fn threads_of(pid: u32) -> String {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.fold(String::new(), |mut text, task| {
        let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let _ = write!(text, "\n    in {}, system call {}", read("wchan"), read("syscall").trim());
        text
    })
}

/// A running process.
pub struct Process<'p> {
    processes: &'p Processes,
    pid: u32,
    pub stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    stderr: File,
}

impl Process<'_> {
    /// The next line of output; `None` when the process has ended.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line);
        // A process killed in the middle of a line has not completed its answer.
        (read.is_ok() && line.ends_with('\n')).then_some(line)
    }

    /// Restarts its time limit after an answer.
    pub fn lives(&self) {
        if let Some(running) = self.processes.running().get_mut(&self.pid) {
            running.begun = Instant::now();
        }
    }

    /// Waits for the end and asserts that only [`Processes::watch`] may have killed it.
    ///
    /// # Panics
    /// If another signal killed it, or its output mentions a panic or a lock.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        drop(self.stdin.take());
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).unwrap();
        // A process that has closed its output is about to end.
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
    /// Kills the process when its worker fails.
    fn drop(&mut self) {
        if let Some(mut running) = self.processes.running().remove(&self.pid) {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}
