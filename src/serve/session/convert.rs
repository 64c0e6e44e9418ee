//! Converting: makes eggs of wheels in place of pip, with compilers that live as long as the session.
//!
//! The first egg of a combination of Python, zc.buildout and pip is made by both, and compared
//! ([`crate::cache::parity`]). Whatever fails here is left to buildout.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};

use super::Session;
use crate::cache::parity::{Combination, Parity};
use crate::disk::files;
use crate::disk::permissions;
use crate::disk::temp::Temp;
use crate::egg::wheel::Reason;
use crate::error::{Error, IoContext, OrLog, Result};
use crate::ops::convert::check::{self, Verdict};
use crate::ops::convert::{Converter, Options, Origin, Outcome, Target};
use crate::ops::materialize::Prepared;
use crate::serve::convert_worker::{ConvertWorker, Job, Taken, Wheel};
use crate::serve::protocol::{Answer, ToConvert, ToPrepare};
use crate::util::clock::now;
use crate::util::environment::Environment;
use crate::util::hash::sha256::{Hashing, Sha256};

/// The CPU time that a file may take to compile. A wheel with one that takes longer is left to buildout.
const DEADLINE: Duration = Duration::from_secs(20);

/// After so many wheels with an error, one after another, no more are converted: something is wrong with the
/// machine, and each attempt takes time.
const MOST_ERRORS: usize = 3;

/// The converter of a session.
#[derive(Debug, Default)]
pub enum Conversion {
    #[default]
    Idle,
    Started {
        converter: Arc<Converter>,
        environment: Vec<(String, String)>,
        variant: String,
        /// Starts with the first wheel that was fetched ahead.
        ahead: Option<ConvertWorker>,
    },
    /// It has failed too often, so that it converts nothing more.
    Failed,
}

impl Session {
    /// Makes the egg of a wheel, or compares it with the one that buildout has made.
    pub fn convert(&mut self, wanted: ToConvert) -> Answer {
        let wheel = wanted.wheel.clone();
        let answer = self.try_convert(wanted);
        if answer.is_ok() {
            self.conversion_errors = 0;
        }
        let answer = answer.unwrap_or_else(|error| {
            warn!(wheel = %wheel.display(), %error, "a wheel is not converted");
            self.conversion_errors += 1;
            if self.conversion_errors == MOST_ERRORS {
                self.conversion = Conversion::Failed;
            }
            Answer::Left { left: error.to_string() }
        });
        if let Answer::Left { left } = &answer {
            debug!(wheel = %wheel.display(), reason = left, "left to buildout");
        }
        answer
    }

    /// Makes the directory for archives that are fetched ahead.
    pub fn spool(&mut self, into: &Path) -> Result<Answer> {
        let Prepared { path, torn } = self.prepare(into)?;
        let temp = Temp::dir_at(&path)?;
        let directory = temp.path().to_owned();
        self.spool = Some(temp);
        Ok(Answer::Spooling { directory, torn })
    }

    /// Queues a wheel that was fetched ahead. Whether its egg is used is decided when buildout asks for it.
    pub fn prepare_wheel(&mut self, wanted: ToPrepare) -> Answer {
        self.try_prepare(wanted).or_log();
        Answer::Preparing {}
    }

    fn try_prepare(&mut self, wanted: ToPrepare) -> Result<()> {
        let ToPrepare { sha256, convert: wanted } = wanted;
        let known = self.known_parity(&combination(&wanted));
        let differs = known.is_some_and(|parity| parity.difference.is_some());
        let is_failed = matches!(self.conversion, Conversion::Failed);
        if differs || is_failed || wanted.umask != permissions::umask() {
            return Ok(());
        }
        let environment = wanted.environment.into_iter().collect();
        let Some(converter) = self.converter(wanted.python, environment, &wanted.variant)? else {
            return Ok(());
        };
        let wheel = Wheel { sha256, file_name: file_name(&wanted.wheel) };
        let into = self.prepare(&wanted.into)?.path;
        if let Conversion::Started { ahead, .. } = &mut self.conversion {
            let ahead = ahead.get_or_insert_with(ConvertWorker::new);
            ahead.enqueue(Job { wheel, path: wanted.wheel, into, converter });
        }
        Ok(())
    }

    /// What was made of a wheel ahead. An egg is in the directory now.
    fn take_ready(&self, wheel: &Path, into: &Path, converter: &Arc<Converter>) -> Option<Taken> {
        let Conversion::Started { ahead: Some(ahead), .. } = &self.conversion else { return None };
        let sha256 = digest(wheel).or_log()?;
        ahead.take(&Wheel { sha256, file_name: file_name(wheel) }, into, converter)
    }

    /// Removes what was fetched or made ahead and not asked for.
    pub fn end_conversion(&mut self) {
        self.conversion = Conversion::Idle;
        self.spool = None;
    }

    fn known_parity(&self, combination: &Combination) -> Option<Parity> {
        let known = self.parities.iter().find(|it| it.combination == *combination).cloned();
        known.or_else(|| self.cache.parity(combination))
    }

    fn try_convert(&mut self, wanted: ToConvert) -> Result<Answer> {
        let left = |reason: &str| Ok(Answer::Left { left: reason.to_owned() });
        if matches!(self.conversion, Conversion::Failed) {
            return left("converting too many wheels has failed");
        }
        if wanted.umask != permissions::umask() {
            return left("buildout has another umask than this program");
        }
        let combination = combination(&wanted);
        let known = self.known_parity(&combination);
        let ToConvert { wheel, into, python, environment, stock, variant, .. } = wanted;
        let executable = python.executable.clone();
        match (&known, &stock) {
            (None, None) => return Ok(Answer::Uncompared { compare: true }),
            (Some(Parity { difference: Some(difference), .. }), _) => {
                return left(&format!("converted eggs differ from those of pip: {difference}"));
            }
            _ => {}
        }
        let environment: Vec<(String, String)> = environment.into_iter().collect();
        if let Some(stock) = stock {
            // With what stock buildout compiles, whatever this one wants.
            let converter = start(python, &environment, &Options::default())?;
            let verdict = compare(&converter, &executable, &wheel, &into, &stock)?;
            return Ok(self.compared(&wheel, combination, verdict));
        }
        let Some(converter) = self.converter(python, environment, &variant)? else {
            return left(&format!("no wheels are converted for the variant {variant}"));
        };
        let taken = self.take_ready(&wheel, &into, &converter);
        if let Some(Taken::Egg { name, warnings }) = taken {
            return Ok(Answer::Converted { egg: into.join(name), warnings });
        }
        if let Some(Taken::Left(reason)) = taken {
            return left_by(reason, executable);
        }
        let made = converter.convert(&wheel, &into, Origin::Portable)?;
        match made.outcome {
            Outcome::Converted { egg, .. } => {
                Ok(Answer::Converted { egg: into.join(egg), warnings: made.warnings })
            }
            Outcome::Present { .. } => left("its egg is there"),
            Outcome::Left { reason } => left_by(reason, executable),
        }
    }

    /// The converter for eggs of a variant; `None` if none are converted.
    fn converter(
        &mut self,
        target: Target,
        environment: Vec<(String, String)>,
        variant: &str,
    ) -> Result<Option<Arc<Converter>>> {
        let Some(options) = Options::of_variant(variant) else { return Ok(None) };
        let is_same = match &self.conversion {
            Conversion::Started { converter, environment: before, variant: of_before, .. } => {
                *converter.target() == target && *before == environment && of_before == variant
            }
            _ => false,
        };
        if !is_same {
            let converter = Arc::new(start(target, &environment, &options)?);
            let variant = variant.to_owned();
            self.conversion = Conversion::Started { converter, environment, variant, ahead: None };
        }
        match &self.conversion {
            Conversion::Started { converter, .. } => Ok(Some(Arc::clone(converter))),
            _ => unreachable!("it was started above"),
        }
    }

    /// Records the result of a comparison. A wheel that is not converted says nothing.
    fn compared(&mut self, wheel: &Path, combination: Combination, verdict: Verdict) -> Answer {
        let difference = match verdict {
            Verdict::Same { .. } => None,
            Verdict::Differs { files } => Some(match files.first() {
                Some(first) if first.path.is_empty() => first.what.to_owned(),
                Some(first) => format!("{}: {}", first.path, first.what),
                None => String::new(),
            }),
            Verdict::Left { .. } | Verdict::Failed { .. } => {
                return Answer::Compared { warning: None };
            }
        };
        let wheel = file_name(wheel);
        let warning = difference.as_ref().map(|difference| {
            format!(
                "the egg that eggcache makes of {wheel} differs from the one of pip ({difference}); \
                 pip installs all wheels"
            )
        });
        let parity = Parity { combination, wheel, compared_at: now(), difference };
        if let Err(error) = self.cache.record_parity(&parity) {
            warn!(%error, "a comparison is not recorded");
        }
        self.parities.push(parity);
        Answer::Compared { warning }
    }
}

/// The answer for a wheel that is left to buildout.
///
/// # Errors
/// [`Error::BadPython`] if no compiler survives one of its files.
fn left_by(reason: Reason, python: PathBuf) -> Result<Answer> {
    match reason {
        Reason::Compiler(name) => {
            let reason = format!("it does not survive to compile {name}");
            Err(Error::BadPython { path: python, reason })
        }
        reason => Ok(Answer::Left { left: reason.to_string() }),
    }
}

fn file_name(wheel: &Path) -> String {
    wheel.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn digest(wheel: &Path) -> Result<Sha256> {
    let file = files::open_file(wheel).at("read", wheel)?;
    let mut hashing = Hashing::new(&file);
    std::io::copy(&mut hashing, &mut std::io::sink()).at("read", wheel)?;
    Ok(hashing.finish().0)
}

fn combination(wanted: &ToConvert) -> Combination {
    let python = &wanted.python;
    let kind = if python.is_virtual { "in a virtual environment" } else { "without one" };
    Combination {
        python: format!(
            "{} {} {kind}, {}",
            python.cache_tag,
            python.full_version(),
            python.platform
        ),
        buildout: python.buildout.clone().unwrap_or_default(),
        code: wanted.code.clone(),
        setuptools: wanted.setuptools.clone(),
        pip: python.pip.clone().unwrap_or_default(),
        eggcache: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Starts a converter for a Python with these variables.
fn start(target: Target, environment: &[(String, String)], options: &Options) -> Result<Converter> {
    let environment: Environment = environment.iter().cloned().collect();
    let &Options { compile, invalidation, .. } = options;
    let options =
        Options { compile, invalidation, deadline: DEADLINE, is_strict: true, environment };
    Converter::start(target, options)
}

/// Converts a wheel in a temporary directory, and compares the egg with the one of buildout.
fn compare(
    converter: &Converter,
    python: &Path,
    wheel: &Path,
    into: &Path,
    stock: &Path,
) -> Result<Verdict> {
    let temp = Temp::dir_at(into)?;
    match converter.convert(wheel, temp.path(), Origin::Exact)?.outcome {
        Outcome::Left { reason } => Ok(Verdict::Left { reason: reason.to_string() }),
        Outcome::Converted { egg, .. } | Outcome::Present { egg } => {
            check::compare_eggs(python, &temp.path().join(egg), stock)
        }
    }
}
