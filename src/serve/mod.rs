//! Serve: the bridge to buildout. One process for each buildout run, which exchanges lines of JSON.
//!
//! docs/reference/protocol.md describes the lines. The program speaks first, with the version of the
//! protocol. After that each request line gets one answer line, in order. While a request takes long,
//! lines that are no answers show that the program lives. At the end of the input the program stores
//! what is queued, waits for pushes, and collects garbage if it is time for that.

mod announced_sets;
mod auto_gc;
mod convert_worker;
mod fetch_worker;
mod held_leases;
mod output;
mod prefetch_worker;
mod protocol;
mod push_worker;
mod session;
mod store_worker;
mod worker;

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::cache::trust::Trust;
use crate::egg::name::normalize_name;
use crate::error::{Error, OrLog, Result};
use crate::util::environment::Environment;
use output::Output;
use protocol::{Answer, Built, RefusalKind, Request, ToBuild, ToFind};
use session::{Session, is_unusable};
use tracing::{debug, debug_span, warn};

/// Version of the protocol. It changes with every change that an older client would misread.
pub const PROTOCOL: u32 = 16;

/// What the process decides that runs the bridge.
#[derive(Debug, Clone)]
pub struct Options {
    /// The variables with keys and credentials.
    pub environment: Environment,
    /// The folder of the buildout.
    pub directory: Option<PathBuf>,
    /// The caches that this user trusts.
    pub trust: Trust,
    /// A warning for the log of the buildout.
    pub warning: Option<String>,
    /// What to do about an error of a cache, in one sentence for the log of the buildout.
    pub hint: fn(&Error, &Path) -> Option<String>,
    /// Runs when no buildout waits for the bridge any more.
    pub on_background: fn(),
    /// Runs first in each thread that packs eggs.
    pub on_worker_start: fn(),
}

impl Options {
    /// The text of an error, with what to do about it.
    fn text(&self, error: &Error, cache: &Path) -> String {
        match (self.hint)(error, cache) {
            Some(hint) => format!("{error} ({hint})"),
            None => error.to_string(),
        }
    }
}

/// Answers requests until the input ends.
///
/// # Errors
/// If the input cannot be read or the output cannot be written. A request that fails gets an answer.
pub fn serve(
    input: impl BufRead,
    output: impl Write + Send,
    options: Options,
) -> std::io::Result<()> {
    let output = Output::new(output, output::EVERY);
    output.answer(&Answer::Greeting { protocol: PROTOCOL, eggcache: env!("CARGO_PKG_VERSION") })?;
    let options = Arc::new(options);
    let (mut session, mut closed) = (None, None);
    let served = std::thread::scope(|scope| {
        // Dropped before the scope waits for the thread, even by a panic.
        let _end = output.until_dropped();
        let signs = std::thread::Builder::new().name("signs of life".into());
        // Without the thread, only an answer that takes very long is given up.
        signs.spawn_scoped(scope, || output.give_signs()).or_log();
        answer_all(input, &output, &mut session, &mut closed, &options)
    });
    // The client has ended without `close`. What it used counts all the same, and dropping the session
    // stores what it has built.
    if let Some(mut session) = session {
        session.record_use();
    }
    if let Some(session) = closed {
        session.end();
    }
    served
}

/// Answers each line of the input until its end.
fn answer_all(
    mut input: impl BufRead,
    output: &Output<impl Write>,
    session: &mut Option<Session>,
    closed: &mut Option<Session>,
    options: &Arc<Options>,
) -> std::io::Result<()> {
    let (mut line, mut cache) = (Vec::new(), PathBuf::new());
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        output.begin();
        let answer = parse(&line).and_then(|request| {
            if let Request::Open(opening) = &request {
                cache.clone_from(&opening.cache);
            }
            answer(session, closed, request, options)
        });
        let answer = answer.unwrap_or_else(|error| failed(&error, options.text(&error, &cache)));
        output.answer(&answer)?;
    }
}

fn parse(line: &[u8]) -> Result<Request> {
    serde_json::from_slice(line).map_err(|error| {
        warn!(%error, "not a request");
        Error::Protocol(format!("not a request of protocol {PROTOCOL}: {error}"))
    })
}

/// Answers one request, and logs how that went.
fn answer(
    session: &mut Option<Session>,
    closed: &mut Option<Session>,
    request: Request,
    options: &Arc<Options>,
) -> Result<Answer> {
    let _span = debug_span!("request", op = request.op()).entered();
    let begun = Instant::now();
    let answer = handle(session, closed, request, options);
    let ms = begun.elapsed().as_millis();
    match &answer {
        Ok(_) => debug!(ms, "answered"),
        Err(error) => warn!(ms, %error, "failed"),
    }
    answer
}

/// Handles one request. `close` moves the session to `closed`, because to end it may take a while.
fn handle(
    session: &mut Option<Session>,
    closed: &mut Option<Session>,
    request: Request,
    options: &Arc<Options>,
) -> Result<Answer> {
    match request {
        Request::Open(opening) => {
            let (opened, answer) = Session::open(*opening, options)?;
            if let Some(mut before) = session.replace(opened) {
                before.record_use();
            }
            return Ok(answer);
        }
        Request::Close { failed } => {
            if let Some(mut session) = session.take() {
                session.note_failure(failed);
                session.settle();
                session.record_use();
                let answer = session.close();
                *closed = Some(session);
                return Ok(answer);
            }
            return Ok(Answer::Closed { warnings: Vec::new(), pushed: None });
        }
        _ => {}
    }
    let session =
        session.as_mut().ok_or_else(|| Error::Protocol("the cache is not open".into()))?;
    match request {
        Request::Find(wanted) => {
            session.find(&ToFind { name: normalize_name(&wanted.name), ..wanted })
        }
        Request::Learn { digest, choice } => Ok(session.learn(digest, choice)),
        Request::Reject { digests } => Ok(session.reject(&digests)),
        Request::Look { wanted } => session.look(&wanted),
        Request::Lease(egg) => session.lease(&ToBuild { name: normalize_name(&egg.name), ..egg }),
        Request::Prefetch { digests, into } => session.prefetch(&digests, &into),
        Request::Materialize { digest, into } => session.materialize(digest, &into),
        Request::Spool { into } => session.spool(&into),
        Request::Prepare(wanted) => Ok(session.prepare_wheel(*wanted)),
        Request::Convert(wanted) => Ok(session.convert(*wanted)),
        Request::Built(built) => {
            let project = normalize_name(&built.name);
            session.built(&Built { project, ..*built })
        }
        Request::Sign { state, signature } => Ok(session.sign(state, signature)),
        Request::Store(egg) => session.store(&egg),
        Request::Settle {} => Ok(session.settled()),
        Request::Root { directory, eggs_directory, eggs, whole } => {
            session.register(directory, eggs_directory, eggs, whole)
        }
        Request::Open(_) | Request::Close { .. } => unreachable!("answered above"),
    }
}

fn failed(error: &Error, text: String) -> Answer {
    let kind = match error {
        error if is_unusable(error) => RefusalKind::Unusable,
        Error::Unavailable(_) => RefusalKind::Unavailable,
        Error::InTheWay { .. } => RefusalKind::InTheWay,
        _ => RefusalKind::Failure,
    };
    Answer::Failed { error: text, kind }
}
