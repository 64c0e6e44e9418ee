//! Compilers: long-lived processes of the target Python that compile files one after another.
//!
//! A compiler imports nothing of a package. It starts without `site` and with an empty environment,
//! and no module comes from its current directory.
//!
//! Bytecode is the same each time: the hash seed is fixed, and what remains of other files in a process is
//! removed from each compiled file ([`canonical`]).
//!
//! A file may take a limited CPU time, after which the system ends the process, and a longer time on the
//! clock. If a process dies otherwise, another one tries its file once more. A file that cannot be
//! compiled has no bytecode.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use tracing::debug;

use crate::egg::canonical_bytecode::canonical;
use crate::error::{Error, IoContext, OrLog, Result};
use crate::util::environment::Environment;

/// The most address space of a compiler, in bytes.
const MEMORY: u64 = 4 << 30;
/// How much longer a file may take on the clock than on a processor: the machine may be busy.
const PATIENCE: u32 = 5;
/// How long a Python may take to start.
const START: Duration = Duration::from_secs(30);
/// Environment variables that a Python may need to start at all.
const KEPT: [&str; 2] = ["LD_LIBRARY_PATH", "PYTHONHOME"];

/// How compiled files are checked against their source (PEP 552).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Invalidation {
    #[default]
    Timestamp,
    CheckedHash,
    UncheckedHash,
}

impl Invalidation {
    /// The flags in the header of a compiled file.
    fn flags(self) -> u32 {
        match self {
            Self::Timestamp => 0,
            Self::UncheckedHash => 1,
            Self::CheckedHash => 3,
        }
    }
}

/// How to start a compiler.
#[derive(Debug, Clone)]
pub struct Settings {
    pub python: PathBuf,
    pub cache_tag: String,
    /// `PYTHONOPTIMIZE`
    pub optimize: u8,
    pub invalidation: Invalidation,
    /// The most CPU time for one file.
    pub deadline: Duration,
    /// Whether a file that a compiler does not survive ends the work ([`Failure::Source`]).
    pub is_strict: bool,
    pub environment: Vec<(String, OsString)>,
}

impl Settings {
    /// The variables of an environment that a compiler keeps.
    pub fn kept(environment: &Environment) -> Vec<(String, OsString)> {
        let value = |name: &str| Some((name.to_owned(), environment.get_os(name)?.to_owned()));
        KEPT.iter().filter_map(|name| value(name)).collect()
    }
}

/// A file to compile.
#[derive(Debug, Clone)]
pub struct Job {
    pub source: PathBuf,
    /// What tracebacks show: the path in the egg.
    pub name: String,
    /// The compiled file; `None` to see only whether it can be made.
    pub target: Option<PathBuf>,
}

/// Why files are not compiled.
#[derive(Debug)]
pub enum Failure {
    /// No compiler survives this file, by its name.
    Source(String),
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Compilers that wait for work.
#[derive(Debug)]
pub struct Compilers {
    settings: Settings,
    idle: Mutex<Vec<Compiler>>,
}

impl Compilers {
    /// Starts the first compiler. Others start when they are needed.
    ///
    /// # Errors
    /// [`Error::BadPython`] if the Python is not the one that was described.
    pub fn start(settings: Settings) -> Result<Self> {
        let first = Compiler::start(&settings)?;
        Ok(Self { settings, idle: Mutex::new(vec![first]) })
    }

    /// Compiles files, one after another, and returns for each whether it has bytecode.
    ///
    /// # Errors
    /// [`Failure::Source`] only if the settings are strict.
    pub fn compile(&self, jobs: &[Job]) -> Result<Vec<bool>, Failure> {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        let mut compiler = match idle {
            Some(compiler) => compiler,
            None => Compiler::start(&self.settings)?,
        };
        let mut results = Vec::with_capacity(jobs.len());
        let mut is_second_try = false;
        while results.len() < jobs.len() {
            let rest = &jobs[results.len()..];
            let Err(stopped) = compiler.compile(rest, self.settings.invalidation, &mut results)
            else {
                break;
            };
            let job = &jobs[results.len()];
            debug!(source = %job.source.display(), ?stopped, is_second_try, "a compiler has ended");
            // What it wrote may be cut off.
            if let Some(target) = &job.target {
                let _ = std::fs::remove_file(target);
            }
            if is_second_try || stopped == Stopped::TooSlow {
                if self.settings.is_strict {
                    return Err(Failure::Source(job.name.clone()));
                }
                results.push(false);
            }
            is_second_try = !is_second_try && stopped == Stopped::Died;
            compiler = Compiler::start(&self.settings)?;
        }
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(compiler);
        }
        let written = jobs.iter().zip(&results).filter(|(_, is_compiled)| **is_compiled);
        for target in written.filter_map(|(job, _)| job.target.as_deref()) {
            make_canonical(target).at("write", target)?;
        }
        Ok(results)
    }
}

/// Why a compiler did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    TooSlow,
    Died,
}

/// One process.
#[derive(Debug)]
struct Compiler {
    process: Child,
    requests: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Compiler {
    fn start(settings: &Settings) -> Result<Self> {
        let python = settings.python.as_path();
        let (here, there) = UnixStream::pair().at("start", python)?;
        here.set_read_timeout(Some(START)).at("start", python)?;
        here.set_write_timeout(Some(START)).at("start", python)?;
        let answers = BufReader::new(here.try_clone().at("start", python)?);
        let input: OwnedFd = there.try_clone().at("start", python)?.into();
        let output: OwnedFd = there.into();
        let mut command = Command::new(python);
        command.args(["-s", "-S", "-B", "-W", "ignore"]);
        match settings.optimize {
            0 => {}
            1 => drop(command.arg("-O")),
            _ => drop(command.arg("-OO")),
        }
        command
            .args(["-c", include_str!("compile_worker.py")])
            .arg(settings.deadline.as_secs_f64().to_string())
            .arg(MEMORY.to_string())
            .env_clear()
            .env("PYTHONHASHSEED", "0")
            .envs(settings.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(output))
            .stderr(Stdio::null());
        let process = command.spawn().at("start", python)?;
        drop(command); // and with it the other end of the stream
        let mut compiler = Self { process, requests: here, answers };
        let expected = format!("ready {}", settings.cache_tag);
        match compiler.answer() {
            Ok(line) if line == expected => {
                let patience = Some(settings.deadline * PATIENCE);
                compiler.requests.set_read_timeout(patience).at("start", python)?;
                Ok(compiler)
            }
            _ => {
                let reason = "it does not start as a compiler".to_owned();
                Err(Error::BadPython { path: python.to_owned(), reason })
            }
        }
    }

    /// Compiles files until one has no answer. While it compiles one, it has the next already.
    fn compile(
        &mut self,
        jobs: &[Job],
        invalidation: Invalidation,
        results: &mut Vec<bool>,
    ) -> Result<(), Stopped> {
        let Some(first) = jobs.first() else { return Ok(()) };
        self.send(first, invalidation)?;
        for next in 1..=jobs.len() {
            // What is wrong with the stream shows when the answer is read.
            let sent = jobs.get(next).map_or(Ok(()), |job| self.send(job, invalidation));
            results.push(verdict(&self.answer()?).ok_or(Stopped::Died)?);
            sent?;
        }
        Ok(())
    }

    fn send(&mut self, job: &Job, invalidation: Invalidation) -> Result<(), Stopped> {
        let target = job.target.as_deref().map(hex_path).unwrap_or_default();
        let (source, name) = (hex_path(&job.source), hex(job.name.as_bytes()));
        let line = format!("{} {source} {name} {target}\n", invalidation.flags());
        self.requests.write_all(line.as_bytes()).map_err(|_| Stopped::Died)
    }

    fn answer(&mut self) -> Result<String, Stopped> {
        /// No answer is longer.
        const MOST: u64 = 1 << 12;
        let mut line = String::new();
        match (&mut self.answers).take(MOST).read_line(&mut line) {
            Ok(_) => {
                line.strip_suffix('\n').map(str::to_owned).ok_or_else(|| self.end_of_process())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(Stopped::TooSlow)
            }
            Err(_) => Err(Stopped::Died),
        }
    }

    /// Why the process has closed its stream.
    fn end_of_process(&mut self) -> Stopped {
        let slow = rustix::process::Signal::PROF.as_raw();
        match self.process.wait().map(|status| status.signal()) {
            Ok(Some(signal)) if signal == slow => Stopped::TooSlow,
            _ => Stopped::Died,
        }
    }
}

impl Drop for Compiler {
    fn drop(&mut self) {
        self.process.kill().or_log();
        self.process.wait().or_log();
    }
}

/// Whether a file has bytecode; `None` if the answer says nothing about the file, such as after a lack of
/// memory.
fn verdict(answer: &str) -> Option<bool> {
    /// What is wrong with a source, in every process of this Python.
    const FAULTS: [&str; 7] = [
        "no SyntaxError",
        "no IndentationError",
        "no TabError",
        "no ValueError",
        "no UnicodeDecodeError",
        "no UnicodeEncodeError",
        "no OverflowError",
    ];
    (answer == "ok").then_some(true).or_else(|| FAULTS.contains(&answer).then_some(false))
}

/// Gives a compiled file its canonical form, and keeps its mtime. A compiler that writes no file is found
/// where its eggs are compared with those of pip.
fn make_canonical(path: &Path) -> std::io::Result<()> {
    let mut file = match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    let Some(canonical) = canonical(&content) else {
        debug!(path = %path.display(), "bytecode that is not understood stays as it is");
        return Ok(());
    };
    if canonical == content {
        return Ok(());
    }
    let modified = file.metadata()?.modified()?;
    file.rewind()?;
    file.write_all(&canonical)?;
    file.set_len(canonical.len() as u64)?;
    file.set_modified(modified)
}

fn hex_path(path: &Path) -> String {
    hex(path.as_os_str().as_bytes())
}

pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn settings(python: &Path, deadline: Duration) -> Settings {
        Settings {
            python: python.to_owned(),
            cache_tag: "fake".into(),
            optimize: 0,
            invalidation: Invalidation::Timestamp,
            deadline,
            is_strict: false,
            environment: vec![("PATH".into(), std::env::var_os("PATH").unwrap())],
        }
    }

    fn job(source: &Path) -> Job {
        Job { source: source.to_owned(), name: "x.py".into(), target: None }
    }

    /// A program in place of Python that does what the names of the sources say.
    fn fake(folder: &Path) -> PathBuf {
        let path = folder.join("python");
        let names = ["/die", "/once", "/hang", "/wrong", "/memory"];
        let [die, once, hang, wrong, memory] = names.map(|name| hex(name.as_bytes()));
        let script = format!(
            "#!/bin/sh\necho ready fake\nwhile read flags source name target; do case $source in\n\
             {die}) echo >> {folder}/deaths; exit 1;;\n\
             {once}) [ -e {folder}/once ] || {{ touch {folder}/once; exit 1; }}; echo ok;;\n\
             {hang}) echo >> {folder}/hangs; exec sleep 600;;\n\
             {wrong}) echo no SyntaxError;;\n\
             {memory}) echo >> {folder}/memory; echo no MemoryError;;\n\
             *) echo ok;;\nesac; done\n",
            folder = folder.display()
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_file_whose_compiler_dies_is_tried_once_more() {
        let folder = tempfile::tempdir().unwrap();
        let python = fake(folder.path());
        let compilers = Compilers::start(settings(&python, Duration::from_mins(1))).unwrap();
        let jobs = ["/a", "/die", "/b", "/once", "/c"].map(|name| job(Path::new(name)));
        assert_eq!(compilers.compile(&jobs).unwrap(), [true, false, true, true, true]);
        assert_eq!(fs::read(folder.path().join("deaths")).unwrap().len(), 2);
    }

    #[test]
    fn a_compiler_that_hangs_is_ended_and_its_file_not_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let python = fake(folder.path());
        let compilers = Compilers::start(settings(&python, Duration::from_millis(50))).unwrap();
        let jobs = ["/hang", "/a"].map(|name| job(Path::new(name)));
        assert!(!compilers.compile(&jobs).unwrap()[0]);
        assert_eq!(fs::read(folder.path().join("hangs")).unwrap().len(), 1);
    }

    #[test]
    fn strict_compilers_fail_where_others_leave_out_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let python = fake(folder.path());
        for (name, deadline) in [("/die", 60_000), ("/hang", 50), ("/memory", 60_000)] {
            let settings = settings(&python, Duration::from_millis(deadline));
            let compilers = Compilers::start(Settings { is_strict: true, ..settings }).unwrap();
            assert!(compilers.compile(&[job(Path::new(name))]).is_err(), "{name}");
            let jobs = ["/once", "/wrong"].map(|name| job(Path::new(name)));
            assert_eq!(compilers.compile(&jobs).unwrap(), [true, false]);
        }
        assert_eq!(fs::read(folder.path().join("memory")).unwrap().len(), 2, "it is tried twice");
    }

    #[test]
    fn another_program_is_not_a_compiler() {
        for program in ["/bin/true", "/no/such/python"] {
            let started = Compilers::start(settings(Path::new(program), Duration::from_secs(1)));
            assert!(started.is_err(), "{program}");
        }
    }

    #[test]
    fn compiled_files_do_not_depend_on_those_before_them() {
        let folder = tempfile::tempdir().unwrap();
        // Python keeps one object for a text of one character, and marks it if it is a name anywhere.
        let sources = [("name.py", "ä = 1\n"), ("text.py", "x = 'ä'\n")];
        for (name, content) in sources {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let described = super::super::describe(Path::new("python3")).unwrap();
        let settings = Settings {
            cache_tag: described.cache_tag,
            ..settings(&described.executable, Duration::from_mins(1))
        };
        let modified = |path: &Path| path.metadata().unwrap().modified().unwrap();
        let compile = |names: [&str; 2]| {
            let sources = names.map(|name| folder.path().join(name));
            let target = |source: &Path| source.with_extension("pyc");
            let jobs = sources
                .each_ref()
                .map(|source| Job { target: Some(target(source)), ..job(source) });
            let compilers = Compilers::start(settings.clone()).unwrap();
            assert_eq!(compilers.compile(&jobs).unwrap(), [true, true]);
            sources.map(|source| {
                let target = target(&source);
                assert_eq!(modified(&target), modified(&source));
                let content = fs::read(&target).unwrap();
                fs::remove_file(target).unwrap();
                content
            })
        };
        let [name, text] = compile(["name.py", "text.py"]);
        assert_eq!([text, name], compile(["text.py", "name.py"]));
    }

    #[test]
    fn a_real_python_is_ended_at_its_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let described = super::super::describe(Path::new("python3")).unwrap();
        let long = folder.path().join("long.py");
        fs::write(&long, "x = [1, {2: 3}, f'{x}']\n".repeat(300_000)).unwrap();
        let short = folder.path().join("short.py");
        fs::write(&short, "x = 1\n").unwrap();
        let settings = Settings {
            cache_tag: described.cache_tag,
            ..settings(&described.executable, Duration::from_millis(100))
        };
        let compilers = Compilers::start(settings).unwrap();
        let jobs = [&long, &short]
            .map(|source| Job { target: Some(source.with_extension("pyc")), ..job(source) });
        assert_eq!(compilers.compile(&jobs).unwrap(), [false, true]);
        assert!(!long.with_extension("pyc").exists() && short.with_extension("pyc").exists());
    }
}
