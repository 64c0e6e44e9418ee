//! Convert: make eggs of wheels, as buildout makes them with pip, without running pip.
//!
//! An egg is written in a temporary directory beside its final path, and renamed when it is complete.
//! Its files have one mtime: that of the newest file in the wheel, or `SOURCE_DATE_EPOCH`.
//!
//! What is not certain is left to buildout, with a reason ([`Reason`]): then nothing is written. No code
//! of a package is run.

pub mod check;
mod compilers;
mod egg;
mod python;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rayon::prelude::*;
use serde::Serialize;

pub use compilers::Invalidation;
pub use egg::{Made, Outcome};
pub use python::describe;

pub use crate::egg::wheel::Reason;
pub use crate::egg::wheel::plan::Origin;
pub use crate::egg::wheel::target::Target;

use crate::disk::dir::Dir;
use crate::disk::{files, permissions, temp};
use crate::egg::variant;
use crate::egg::wheel::plan::Bytecode;
use crate::error::{Error, IoContext, Result};
use crate::util::environment::Environment;
use crate::util::progress::{Progress, Unit};
use crate::util::threads;
use compilers::{Compilers, Settings};

/// The CPU time that a file may take to compile.
const DEADLINE: Duration = Duration::from_mins(1);

/// Which files have bytecode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compile {
    /// Those that have it in an egg of stock buildout: packages that `top_level.txt` names.
    #[default]
    Stock,
    All,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub compile: Compile,
    /// `None` for that of stock Python: by hash if there is a `SOURCE_DATE_EPOCH`, else by mtime.
    pub invalidation: Option<Invalidation>,
    pub deadline: Duration,
    /// Whether an egg fails if a compiler does. Otherwise, the file that it had has no bytecode.
    pub is_strict: bool,
    /// `SOURCE_DATE_EPOCH` and `PYTHONOPTIMIZE` count, as for pip.
    pub environment: Environment,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            compile: Compile::default(),
            invalidation: None,
            deadline: DEADLINE,
            is_strict: false,
            environment: Environment::default(),
        }
    }
}

impl Options {
    /// The options with which eggs of a variant are converted; `None` if none are.
    #[must_use]
    pub fn of_variant(variant: &str) -> Option<Self> {
        let (compile, invalidation) = match variant {
            "" => (Compile::Stock, None),
            variant::COMPILE_ALL => (Compile::All, None),
            variant::COMPILE_ALL_UNCHECKED => (Compile::All, Some(Invalidation::UncheckedHash)),
            _ => return None,
        };
        Some(Self { compile, invalidation, ..Self::default() })
    }

    fn epoch(&self) -> Option<i64> {
        self.environment.get("SOURCE_DATE_EPOCH").and_then(|text| text.trim().parse().ok())
    }

    /// As Python reads `PYTHONOPTIMIZE`: a number, or 1 for another text.
    fn optimize(&self) -> u8 {
        match self.environment.get("PYTHONOPTIMIZE") {
            None | Some("" | "0") => 0,
            Some(text) => text.parse().map_or(1, |level: i64| if level > 1 { 2 } else { 1 }),
        }
    }
}

/// Makes eggs for one Python. It keeps processes of that Python, which compile.
#[derive(Debug)]
pub struct Converter {
    target: Target,
    options: Options,
    bytecode: Bytecode,
    compilers: Compilers,
    umask: u32,
}

impl Converter {
    /// # Errors
    /// [`Error::BadPython`] if the Python does not start, or is not the one that `target` describes.
    pub fn start(target: Target, options: Options) -> Result<Self> {
        threads::start_pool()?;
        // An empty variable counts as none, as in Python.
        let is_dated =
            options.environment.get("SOURCE_DATE_EPOCH").is_some_and(|it| !it.is_empty());
        let stock = if is_dated { Invalidation::CheckedHash } else { Invalidation::Timestamp };
        let optimize = options.optimize();
        let compilers = Compilers::start(Settings {
            python: target.executable.clone(),
            cache_tag: target.cache_tag.clone(),
            optimize,
            invalidation: options.invalidation.unwrap_or(stock),
            deadline: options.deadline,
            is_strict: options.is_strict,
            environment: Settings::kept(&options.environment),
        })?;
        let bytecode = Bytecode::of(&target, optimize);
        Ok(Self { target, options, bytecode, compilers, umask: permissions::umask() })
    }

    /// The Python that it makes eggs for.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Makes the egg of a wheel in the directory `into`, which must exist.
    ///
    /// # Errors
    /// What the system says. That a wheel is left to buildout is an [`Outcome`].
    pub fn convert(&self, wheel: &Path, into: &Path, origin: Origin) -> Result<Made> {
        egg::make(self, wheel, into, origin)
    }
}

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(serialize_with = "files::lossy")]
    pub into: PathBuf,
    pub wheels: Vec<Converted>,
}

/// What became of one wheel.
#[derive(Debug, Serialize)]
pub struct Converted {
    #[serde(serialize_with = "files::lossy")]
    pub wheel: PathBuf,
    #[serde(flatten)]
    pub result: ConvertedAs,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum ConvertedAs {
    Made(Made),
    Failed {
        #[serde(serialize_with = "crate::error::as_text")]
        failed: Error,
    },
}

impl Report {
    pub fn failed(&self) -> impl Iterator<Item = (&Path, &Error)> {
        self.wheels.iter().filter_map(|it| match &it.result {
            ConvertedAs::Failed { failed } => Some((it.wheel.as_path(), failed)),
            ConvertedAs::Made(_) => None,
        })
    }
}

/// Makes the eggs of wheels in the directory `into`, which is created if needed. If one fails, the others
/// are made all the same.
pub fn convert(
    wheels: &[PathBuf],
    into: &Path,
    target: Target,
    options: Options,
    progress: &dyn Progress,
) -> Result<Report> {
    let converter = Converter::start(target, options)?;
    std::fs::create_dir_all(into).at("make", into)?;
    let into = into.canonicalize().at("open", into)?;
    temp::sweep(&Dir::open(&into).at("open", &into)?)?;
    progress.begin("converting", wheels.len() as u64, Unit::Eggs);
    let convert = |wheel: &PathBuf| {
        let made = converter.convert(wheel, &into, Origin::Portable);
        progress.advance(1);
        let result = made.map_or_else(|failed| ConvertedAs::Failed { failed }, ConvertedAs::Made);
        Converted { wheel: wheel.clone(), result }
    };
    let wheels = wheels.par_iter().map(convert).collect();
    progress.end();
    Ok(Report { into, wheels })
}
