//! Runs the real command under `ptrace(2)`, sees each of its calls that change a file system, and
//! lets it die at one or makes one fail.
//!
//! Dying at the entry of call n is dying anywhere after call n - 1: between the two, nothing on the
//! disk changes. All threads of the command are followed. One thread here does everything for one
//! command, as the kernel takes requests only from the thread that attached.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::calls::{Effect, Tracee};

/// A command that runs so long waits for something that never comes. It is less than what SQLite
/// waits for a lock, so that waiting for one's own is found.
const PATIENCE: Duration = Duration::from_secs(50);

/// What shall become of a command.
#[derive(Debug, Clone, Copy)]
pub enum Plan {
    /// Runs on, and what it does is recorded.
    Record,
    /// Dies before its call `at`, counted from 0, has done anything.
    Kill { at: usize },
    /// Its call `at` does nothing and fails; if that lasts, so does each later one that can.
    Fail { at: usize, errno: Errno, lasts: bool },
}

/// A call that was entered.
#[derive(Debug)]
pub struct Call {
    pub effect: Effect,
    /// Whether it failed by itself, as a `mkdir` does of what is there already.
    pub failed: bool,
}

/// What became of a command.
#[derive(Debug)]
pub struct Trace {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// Every call that would change something below the watched folder, as they were entered.
    pub calls: Vec<Call>,
    /// What the calls that succeeded did, in the order in which they ended; only of a
    /// [`Plan::Record`].
    pub done: Vec<Effect>,
    /// How much was done each time it wrote to standard output, and what it wrote; as `done`.
    pub told: Vec<(usize, String)>,
}

/// Whether this kernel and this user may trace at all.
pub fn is_permitted() -> bool {
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    *PERMITTED.get_or_init(|| {
        let nowhere = Path::new("/no/such/folder");
        run(&Command::new("true"), nowhere, Plan::Record).is_ok()
    })
}

/// Runs a command to its end and watches what it does below the folder `root`.
///
/// # Errors
/// If it cannot be traced.
pub fn run(command: &Command, root: &Path, plan: Plan) -> nix::Result<Trace> {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    // A thread of its own, so that children of the test's thread are not taken for tracees.
    thread::scope(|scope| scope.spawn(|| trace(command, &root, plan)).join().unwrap())
}

fn trace(command: &Command, root: &Path, plan: Plan) -> nix::Result<Trace> {
    let (mut stdout, mut stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let child = spawn_stopped(command, &stdout, &stderr);
    let options = Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_EXITKILL;
    let wait = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    waitpid(child, Some(wait | WaitPidFlag::WUNTRACED))?;
    if let Err(error) = ptrace::seize(child, options) {
        kill(child, Signal::SIGKILL)?;
        waitpid(child, Some(wait))?;
        return Err(error);
    }
    kill(child, Signal::SIGCONT)?;
    let mut tracer = Tracer {
        child,
        root,
        plan,
        inside: HashMap::new(),
        trace: Trace {
            code: None,
            stdout: String::new(),
            stderr: String::new(),
            calls: Vec::new(),
            done: Vec::new(),
            told: Vec::new(),
        },
    };
    let (ended, end) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if end.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = kill(child, Signal::SIGKILL);
            }
        });
        loop {
            match waitpid(None, Some(wait)) {
                Err(Errno::ECHILD) => break,
                Err(Errno::EINTR) => {}
                status => tracer.follow(status.unwrap()),
            }
        }
        drop(ended);
    });
    let Tracer { mut trace, .. } = tracer;
    for (file, text) in [(&mut stdout, &mut trace.stdout), (&mut stderr, &mut trace.stderr)] {
        file.rewind().unwrap();
        file.read_to_string(text).unwrap();
    }
    Ok(trace)
}

/// Starts the command behind a shell that stops itself, so that none of its calls is missed. One
/// thread of its own makes the order of its calls repeat.
fn spawn_stopped(command: &Command, stdout: &File, stderr: &File) -> Pid {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .env("RAYON_NUM_THREADS", "1")
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().unwrap())
        .stderr(stderr.try_clone().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        shell.current_dir(dir);
    }
    Pid::from_raw(shell.spawn().unwrap().id().cast_signed())
}

struct Tracer<'a> {
    child: Pid,
    root: &'a Path,
    plan: Plan,
    /// Threads that are inside a call, with what it will do if that matters.
    inside: HashMap<Pid, Option<Inside>>,
    trace: Trace,
}

struct Inside {
    call: usize,
    effect: Effect,
    fails: Option<Errno>,
}

impl Tracer<'_> {
    fn follow(&mut self, status: WaitStatus) {
        let (thread, signal) = match status {
            WaitStatus::Exited(thread, code) => {
                self.inside.remove(&thread);
                if thread == self.child {
                    self.trace.code = Some(code);
                }
                return;
            }
            WaitStatus::Signaled(thread, ..) => {
                self.inside.remove(&thread);
                return;
            }
            WaitStatus::PtraceSyscall(thread) => {
                match self.step(thread) {
                    // It was killed from elsewhere meanwhile.
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(error) => panic!("cannot trace: {error}"),
                }
                (thread, None)
            }
            WaitStatus::PtraceEvent(thread, ..) => (thread, None),
            WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
            WaitStatus::Continued(_) | WaitStatus::StillAlive => return,
        };
        match ptrace::syscall(thread, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("cannot trace: {error}"),
        }
    }

    /// A thread enters or leaves a call; the two alternate.
    fn step(&mut self, thread: Pid) -> nix::Result<()> {
        let with_data = matches!(self.plan, Plan::Record);
        let tracee = Tracee::new(thread, self.root, with_data);
        let Some(inside) = self.inside.remove(&thread) else {
            let registers = ptrace::getregs(thread)?;
            let effect = tracee.entered(&registers);
            if let Some(told) = tracee.tells(&registers) {
                self.trace.told.push((self.trace.done.len(), told));
            }
            let entered = effect.map(|effect| self.enter(thread, registers, effect)).transpose()?;
            self.inside.insert(thread, entered);
            return Ok(());
        };
        let Some(Inside { call, mut effect, fails }) = inside else { return Ok(()) };
        let mut registers = ptrace::getregs(thread)?;
        if let Some(errno) = fails {
            registers.rax = i64::from(-(errno as i32)).cast_unsigned();
            ptrace::setregs(thread, registers)?;
        } else {
            let result = registers.rax.cast_signed();
            self.trace.calls[call].failed = result < 0;
            if with_data && tracee.left(&mut effect, result) {
                self.trace.done.push(effect);
            }
        }
        Ok(())
    }

    fn enter(
        &mut self,
        thread: Pid,
        mut registers: nix::libc::user_regs_struct,
        effect: Effect,
    ) -> nix::Result<Inside> {
        let this = self.trace.calls.len();
        self.trace.calls.push(Call { effect: effect.clone(), failed: false });
        let fails = match self.plan {
            Plan::Kill { at } if at == this => Some(Errno::EINTR), // nobody will see it
            Plan::Fail { at, errno, .. } if at == this => Some(errno),
            Plan::Fail { at, errno, lasts: true } if at < this => {
                Some(errno).filter(|_| effect.can_have(errno, self.root))
            }
            _ => None,
        };
        if fails.is_some() {
            // No call has this number, so nothing is done.
            registers.orig_rax = u64::MAX;
            ptrace::setregs(thread, registers)?;
        }
        if matches!(self.plan, Plan::Kill { at } if at == this) {
            kill(self.child, Signal::SIGKILL)?;
        }
        Ok(Inside { call: this, effect, fails })
    }
}
