//! The statistics in the text format of OpenMetrics 1.0, for a monitoring system.
//!
//! Names end in the unit, and those of counters in `_total`. Every sample has the path of the cache as a label: one
//! machine can have several. The prefix and the names are stable.

use std::fmt::Write;

use crate::util::printable::one_line;

use super::{NextGc, Report};

const PREFIX: &str = "eggcache";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    /// It only grows, until `stats --reset`.
    Counter,
}

/// One metric: its name without the prefix, its kind, its help, and its value.
type Metric = (&'static str, Kind, &'static str, f64);

/// The report as the text that a collector reads.
#[must_use]
pub fn exposition(report: &Report) -> String {
    let mut text = String::new();
    let cache = escaped(&report.cache.to_string_lossy());
    let _ = writeln!(text, "# TYPE {PREFIX}_build info");
    let _ = writeln!(text, "# HELP {PREFIX}_build Version of eggcache.");
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(text, "{PREFIX}_build_info{{cache=\"{cache}\",version=\"{version}\"}} 1");
    for (name, kind, help, value) in metrics(report) {
        let (kind, suffix) = match kind {
            Kind::Gauge => ("gauge", ""),
            Kind::Counter => ("counter", "_total"),
        };
        let _ = writeln!(text, "# TYPE {PREFIX}_{name} {kind}");
        for unit in ["bytes", "seconds"] {
            if name.ends_with(&format!("_{unit}")) {
                let _ = writeln!(text, "# UNIT {PREFIX}_{name} {unit}");
            }
        }
        let _ = writeln!(text, "# HELP {PREFIX}_{name} {help}");
        let _ = writeln!(text, "{PREFIX}_{name}{suffix}{{cache=\"{cache}\"}} {value}");
    }
    text.push_str("# EOF\n");
    text
}

fn metrics(report: &Report) -> Vec<Metric> {
    let Report { sizes, usage, next_gc, pulled, regrets, .. } = report;
    let all = &usage.all;
    let NextGc { eggs: next_eggs, bytes: next_bytes, .. } = *next_gc;
    let gauge = |name, help, value| (name, Kind::Gauge, help, value);
    let counter = |name, help, value| (name, Kind::Counter, help, value);
    vec![
        gauge("eggs", "Eggs in the cache.", count(sizes.eggs as u64)),
        gauge("projects", "Projects of these eggs.", count(sizes.project_count as u64)),
        gauge("unused_eggs", "Eggs that were never copied.", count(sizes.never_used as u64)),
        gauge("pulled_eggs", "Eggs that came from remotes.", count(pulled.eggs as u64)),
        gauge("blobs_bytes", "Size of the blobs.", count(sizes.blob_bytes)),
        gauge("content_bytes", "Size of the files in the eggs.", count(sizes.bytes)),
        gauge("next_gc_eggs", "Eggs that gc would evict now.", count(next_eggs as u64)),
        gauge("next_gc_bytes", "Size of the blobs that gc would evict now.", count(next_bytes)),
        gauge(
            "regretted_eggs",
            "Eggs that were evicted and needed again within a year.",
            count(regrets.asked),
        ),
        counter("runs", "Runs of buildouts that used the cache.", count(all.runs)),
        counter("hits", "Eggs that were copied from the cache.", count(all.hits)),
        counter("misses", "Eggs that had to be built.", count(all.misses)),
        counter("copied_bytes", "Size of the copied eggs.", count(all.copied_bytes)),
        counter(
            "saved_seconds",
            "Time that building the copied eggs had taken, as far as known.",
            all.saved_seconds,
        ),
        counter("build_seconds", "Time that building the missing eggs took.", all.build_seconds),
        counter("stored_eggs", "Eggs that were stored.", count(all.stored)),
        counter("stored_bytes", "Size of the blobs that were stored.", count(all.stored_bytes)),
        counter("evicted_eggs", "Eggs that were evicted or replaced.", count(all.evicted)),
        counter("evicted_bytes", "Size of the blobs that were evicted.", count(all.evicted_bytes)),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "counts have less than 2^52")]
fn count(count: u64) -> f64 {
    count as f64
}

/// The value of a label.
fn escaped(value: &str) -> String {
    one_line(&value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("/a \"b\"\\c\nd"), r#"/a \"b\"\\c\nd"#);
    }
}
