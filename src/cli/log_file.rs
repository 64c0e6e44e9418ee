//! The log file: what eggcache did and why, for those who read a field report (docs/howto/diagnose.md).
//!
//! `EGGCACHE_LOG` names the file and `EGGCACHE_LOG_LEVEL` the level. Any number of processes may append
//! to one file: each line is one write. Only events of eggcache itself are logged, as those of other
//! crates may contain headers and addresses with credentials.

use std::fmt::{self, Debug};
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::panic;
use std::path::Path;
use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber, error, subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Registry, Scope};

use crate::util::environment::Environment;
use crate::util::printable::one_line;

const FILE: &str = "EGGCACHE_LOG";
const LEVEL: &str = "EGGCACHE_LOG_LEVEL";

/// Starts the log of this process if the environment names a file. Answers a warning if something is
/// wrong with that; the command goes on all the same.
pub fn start(environment: &Environment) -> Option<String> {
    let (log, warning) = open(environment);
    if let Some((file, level)) = log
        && subscriber::set_global_default(to_file(file, level)).is_ok()
    {
        log_panics();
    }
    warning
}

/// The file and the level that the environment names, and what is wrong with them.
fn open(environment: &Environment) -> (Option<(File, LevelFilter)>, Option<String>) {
    let Some(path) = environment.get_os(FILE).filter(|path| !path.is_empty()).map(Path::new) else {
        return (None, None);
    };
    let (level, warning) = match environment.get(LEVEL).map(str::parse::<LevelFilter>) {
        None => (LevelFilter::DEBUG, None),
        Some(Ok(level)) => (level, None),
        Some(Err(_)) => {
            let warning = format!("{LEVEL} is not one of error, warn, info, debug and trace");
            (LevelFilter::DEBUG, Some(warning))
        }
    };
    match File::options().create(true).append(true).mode(0o600).open(path) {
        Ok(file) => (Some((file, level)), warning),
        Err(error) => (None, Some(format!("cannot write the log {}: {error}", path.display()))),
    }
}

fn to_file(file: File, level: LevelFilter) -> impl Subscriber + Send + Sync {
    let fields = debug_fn(|writer, field, value| match field.name() {
        "message" => write!(writer, "{}", OneLine(value)),
        name => write!(writer, "{name}={}", OneLine(value)),
    });
    let lines = layer()
        .event_format(Line)
        .fmt_fields(tracing_subscriber::field::MakeExt::delimited(fields, " "))
        .with_writer(Arc::new(file));
    Registry::default().with(Targets::new().with_target("eggcache", level)).with(lines)
}

fn log_panics() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        error!(panic = %panic, "panicked");
        before(panic);
    }));
}

/// Time, process, level, target, spans and fields of an event.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let (time, process) = (jiff::Timestamp::now(), std::process::id());
        write!(writer, "{time:.6} {process} {:<5} {}", metadata.level(), metadata.target())?;
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            write!(writer, " {}", span.name())?;
            let extensions = span.extensions();
            let fields = extensions.get::<tracing_subscriber::fmt::FormattedFields<N>>();
            if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
                write!(writer, "{{{fields}}}")?;
            }
        }
        write!(writer, ": ")?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// A value on one line: names come from anywhere.
struct OneLine<'a>(&'a dyn Debug);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&one_line(&format!("{:?}", self.0)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use tracing::{debug, debug_span, trace};

    use super::*;

    fn environment(file: &Path, level: &str) -> Environment {
        let file = file.to_str().unwrap();
        [(FILE, file), (LEVEL, level)].into_iter().collect()
    }

    #[test]
    fn a_log_line_has_time_process_level_span_and_fields() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = to_file(File::create(&path).unwrap(), LevelFilter::DEBUG);
        subscriber::with_default(log, || {
            let _span = debug_span!("request", op = "find").entered();
            let path = Path::new("/a b\n");
            debug!(name = "lx\nml", path = %path.display(), count = 2, "not\nfound");
            trace!("too much");
            debug!(target: "hyper", "of another crate");
        });
        let text = fs::read_to_string(&path).unwrap();
        let (time, rest) = text.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
        let says = format!(
            "{} DEBUG eggcache::cli::log_file::tests request{{op=\"find\"}}: not\\nfound \
             name=\"lx\\nml\" path=/a b\\n count=2\n",
            std::process::id()
        );
        assert_eq!(rest, says);
    }

    #[test]
    fn a_log_that_cannot_be_written_is_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let (log, warning) = open(&environment(dir.path(), "debug"));
        let says = format!("cannot write the log {}: ", dir.path().display());
        assert!(log.is_none() && warning.as_ref().unwrap().starts_with(&says), "{warning:?}");
        let (log, warning) = open(&Environment::default());
        assert!(log.is_none() && warning.is_none());
    }

    #[test]
    fn a_log_is_for_its_owner_and_an_unknown_level_is_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (log, warning) = open(&environment(&path, "loud"));
        assert_eq!(log.unwrap().1, LevelFilter::DEBUG);
        assert!(warning.unwrap().contains("error, warn, info, debug and trace"));
        assert_eq!(open(&environment(&path, "trace")).0.unwrap().1, LevelFilter::TRACE);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
