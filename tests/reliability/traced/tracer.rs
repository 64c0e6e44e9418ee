//! Runs the real command under `ptrace(2)`, observes each call that changes a file system, and lets
//! the command die at a call or makes a call fail.
//!
//! Dying on entry to call n is dying anywhere after call n - 1: between the two, nothing on the
//! disk changes. All threads of the command are followed. A single thread here handles one command,
//! because the kernel accepts requests only from the thread that attached.

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

/// A command that runs this long waits for something that never happens. It is less than SQLite
/// waits for a lock, so that a command waiting for its own lock is noticed.
const PATIENCE: Duration = Duration::from_secs(50);

/// What to do with a command.
#[derive(Debug, Clone, Copy)]
pub enum Plan {
    /// Let it run, and record its effects.
    Record,
    /// Kill it before its call `at`, counted from 0, has any effect.
    Kill { at: usize },
    /// Let its call `at` fail without effect; with `lasts`, each later call that can fail as well.
    Fail { at: usize, errno: Errno, lasts: bool },
}

/// A call that was entered.
#[derive(Debug)]
pub struct Call {
    pub effect: Effect,
    /// Whether it failed by itself, like `mkdir` of an existing directory.
    pub failed: bool,
}

/// The result of running a command.
#[derive(Debug)]
pub struct Trace {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// Every call that would change something below the watched folder, in order of entry.
    pub calls: Vec<Call>,
    /// The effects of the calls that succeeded, in the order in which they ended; only recorded by
    /// [`Plan::Record`].
    pub done: Vec<Effect>,
    /// Each write to standard output, with the number of effects until then; recorded like `done`.
    pub printed: Vec<(usize, String)>,
}

/// Whether this kernel and this user may trace processes.
pub fn is_permitted() -> bool {
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    *PERMITTED.get_or_init(|| {
        let nowhere = Path::new("/no/such/folder");
        run(&Command::new("true"), nowhere, Plan::Record).is_ok()
    })
}

/// Runs a command to its end, watching its effects below the folder `root`.
///
/// # Errors
/// If the command cannot be traced.
pub fn run(command: &Command, root: &Path, plan: Plan) -> nix::Result<Trace> {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    // A thread of its own, so that children of the test's thread are not mistaken for tracees.
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
            printed: Vec::new(),
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

/// Starts the command from a shell that stops itself first, so that no call is missed. With one
/// thread, the order of the command's calls is the same in every run.
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
    /// The threads inside a call, with its effect if that is relevant.
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
                    // Something else killed it in the meantime.
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

    /// Handles a thread entering or leaving a call; the two alternate.
    fn step(&mut self, thread: Pid) -> nix::Result<()> {
        let with_data = matches!(self.plan, Plan::Record);
        let tracee = Tracee::new(thread, self.root, with_data);
        let Some(inside) = self.inside.remove(&thread) else {
            let registers = ptrace::getregs(thread)?;
            let effect = tracee.entered(&registers);
            if let Some(text) = tracee.printed(&registers) {
                self.trace.printed.push((self.trace.done.len(), text));
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
            Plan::Kill { at } if at == this => Some(Errno::EINTR), // the process never sees it
            Plan::Fail { at, errno, .. } if at == this => Some(errno),
            Plan::Fail { at, errno, lasts: true } if at < this => {
                Some(errno).filter(|_| effect.can_have(errno, self.root))
            }
            _ => None,
        };
        if fails.is_some() {
            // No call has this number, so the kernel does nothing.
            registers.orig_rax = u64::MAX;
            ptrace::setregs(thread, registers)?;
        }
        if matches!(self.plan, Plan::Kill { at } if at == this) {
            kill(self.child, Signal::SIGKILL)?;
        }
        Ok(Inside { call: this, effect, fails })
    }
}
