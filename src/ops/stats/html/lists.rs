//! The lists of buildouts, pins and remotes, each with its meaning, or with the next step if it is empty.

use std::fmt::Write;

use super::super::Report;
use super::super::pins::{PinUse, Pins};
use super::super::remotes::{RemoteUse, Remotes};
use super::super::roots::{RootUse, Roots};
use super::escape::{path, text};
use super::tables::{more, quiet, table};
use crate::cache::retention::roots::RootState;
use crate::util::clock::shown_day;
use crate::util::units::{counted, shown_count, shown_size, shown_span};

pub fn buildouts(report: &Report) -> String {
    let roots = &report.roots;
    let mut list = quiet(&if roots.count > 0 {
        format!(
            "Buildouts that have run with this cache and succeeded. <code>gc</code> keeps the eggs that \
             they use: those of a missing folder, or of another machine, for {}.",
            shown_span(roots.grace)
        )
    } else {
        format!(
            "No buildout has run with this cache yet. Set <code>egg-cache = {}</code> in the section \
             <code>[buildout]</code> of <code>buildout.cfg</code> and run buildout.",
            text(&report.cache.display().to_string())
        )
    });
    if !report.unreadable.is_empty() {
        let records = counted(report.unreadable.len(), "record");
        list.push_str(&quiet(&format!(
            "{records} of a pin or a buildout cannot be read. <code>eggcache stats</code> says why."
        )));
    }
    if roots.count > 0 {
        list.push_str(&table_of_buildouts(roots));
    }
    list
}

fn table_of_buildouts(roots: &Roots) -> String {
    let mut rows = String::new();
    for root in &roots.first {
        let (state, class) = (state(root), if root.kept { "" } else { " expired" });
        let cached = if root.cached == root.eggs {
            shown_count(root.eggs as u64)
        } else {
            format!("{} of {}", shown_count(root.cached as u64), shown_count(root.eggs as u64))
        };
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{}<small>{state}</small></th><td>{cached}</td>\
             <td class=\"rare\">{}</td><td>{}</td><td class=\"rare state{class}\">{state}</td></tr>",
            path(&root.directory.display().to_string()),
            shown_size(root.bytes),
            shown_day(root.last_run),
        );
    }
    let heads =
        [("folder", ""), ("eggs", ""), ("size", "rare"), ("last run", ""), ("state", "rare state")];
    let mut list = table("names", &heads, &rows);
    list.push_str(&more(roots.count - roots.first.len(), "buildout", "roots"));
    list
}

/// Whether the eggs of a root are kept, until when, and why.
fn state(root: &RootUse) -> String {
    let until = root.kept_until.map(shown_day).unwrap_or_default();
    let state = if root.kept { format!("kept until {until}") } else { format!("expired {until}") };
    match root.state {
        RootState::Live => "kept".into(),
        RootState::Gone { gone_since } => {
            format!("{state}: folder missing since {}", shown_day(gone_since))
        }
        RootState::Elsewhere => format!("{state}: folder on {}", text(&root.machine)),
    }
}

pub fn pins(pins: &Pins) -> String {
    if pins.count == 0 {
        return quiet(
            "No egg is pinned. <code>eggcache pin lxml==6.1.3</code> keeps an egg that no buildout uses.",
        );
    }
    let mut rows = String::new();
    for PinUse { pin, eggs, bytes } in &pins.first {
        let note = pin.note.as_deref().map(|note| always(&text(note))).unwrap_or_default();
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{}{note}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
            text(&pin.what),
            shown_count(*eggs as u64),
            shown_size(*bytes),
            shown_day(pin.pinned_at),
        );
    }
    let mut list = quiet("Patterns of eggs that <code>gc</code> never evicts.");
    let heads = [("pin", ""), ("eggs", ""), ("size", ""), ("since", "")];
    list.push_str(&table("names", &heads, &rows));
    list.push_str(&more(pins.count - pins.first.len(), "pin", "pins"));
    list
}

pub fn remotes(remotes: &Remotes) -> String {
    if remotes.unreadable {
        return quiet(
            "The file of the remotes cannot be read. <code>eggcache remote list</code> shows why.",
        );
    }
    if remotes.count == 0 {
        return quiet(
            "No remotes. <code>eggcache remote add NAME URL --key KEY</code> adds a store from which to \
             fetch signed eggs.",
        );
    }
    let mut rows = String::new();
    for remote in &remotes.first {
        let mut below = always(&path(&remote.url));
        if let Some(endpoint) = &remote.endpoint {
            below.push_str(&always(&format!("at {}", path(endpoint))));
        }
        if !remote.is_usable() {
            below.push_str(&always(&unusable(remote)));
        }
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{}{below}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
            text(&remote.name),
            if remote.push { "yes" } else { "no" },
            shown_count(remote.trusted_keys as u64),
            shown_count(remote.eggs as u64),
        );
    }
    let mut list = quiet(
        "Shared stores from which the cache pulls signed eggs, in the order in which it asks them. Eggs \
         that are built here are pushed where \"push\" is yes.",
    );
    let heads = [("remote", ""), ("push", ""), ("keys", ""), ("pulled", "")];
    list.push_str(&table("names", &heads, &rows));
    list.push_str(&more(remotes.count - remotes.first.len(), "remote", "remote list"));
    list
}

/// Why no egg of a remote is used, and the next step.
fn unusable(remote: &RemoteUse) -> String {
    let RemoteUse { name, trusted_keys, signatures_needed, .. } = remote;
    let why = if *trusted_keys == 0 {
        "No trusted key".to_owned()
    } else {
        format!("{} for {signatures_needed} signatures", counted(*trusted_keys, "trusted key"))
    };
    format!("{why}: no egg is used until <code>eggcache trust {} KEY</code>", text(name))
}

/// A line below a name, on wide screens too.
fn always(html: &str) -> String {
    format!("<small class=\"always\">{html}</small>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::retention::pins::Pin;

    fn root(directory: &str, state: RootState, kept: bool) -> RootUse {
        RootUse {
            directory: directory.into(),
            machine: "build-<2>".into(),
            state,
            kept,
            kept_until: Some(86_400),
            last_run: 0,
            eggs: 1000,
            cached: 998,
            bytes: 3 << 30,
        }
    }

    #[test]
    fn a_buildout_is_kept_or_expired() {
        let roots = Roots {
            count: 5,
            kept: 1,
            grace: 30 * 86_400,
            first: vec![
                root("/srv/<app>", RootState::Live, true),
                root("/srv/b", RootState::Gone { gone_since: 0 }, true),
                root("/srv/c", RootState::Elsewhere, false),
            ],
        };
        let list = table_of_buildouts(&roots);
        for part in [
            "srv/<wbr>&lt;app&gt;<small>kept</small></th><td>998 of 1,000</td><td class=\"rare\">3.0 GiB",
            "kept until 1970-01-02: folder missing since 1970-01-01",
            "expired 1970-01-02: folder on build-&lt;2&gt;",
            "And 2 buildouts more; <code>eggcache roots</code> lists all.",
        ] {
            assert!(list.contains(part), "{part}: {list}");
        }
    }

    #[test]
    fn a_pin_has_its_note() {
        let pin = Pin { what: "lxml".into(), note: Some("May & <b>".into()), pinned_at: 0 };
        let first = vec![PinUse { pin, eggs: 2, bytes: 1 << 20 }];
        let list = pins(&Pins { count: 1, first });
        assert!(list.contains("lxml<small class=\"always\">May &amp; &lt;b&gt;</small>"), "{list}");
        assert!(!list.contains(" more; "), "{list}");
    }

    #[test]
    fn a_remote_without_enough_keys_says_what_to_do() {
        let remote = |trusted_keys| RemoteUse {
            name: "team".into(),
            url: "s3://eggs/pool".into(),
            endpoint: Some("https://store.example/".into()),
            push: true,
            trusted_keys,
            signatures_needed: 2,
            eggs: 7,
            bytes: 1,
        };
        let list =
            |keys| remotes(&Remotes { count: 1, first: vec![remote(keys)], unreadable: false });
        assert!(
            list(2).contains("s3://eggs/<wbr>pool")
                && list(2).contains("at https://store.example/<wbr>")
        );
        assert!(list(2).contains("<td>yes</td><td>2</td><td>7</td>"), "{}", list(2));
        assert!(!list(2).contains("no egg is used"), "{}", list(2));
        assert!(list(0).contains("No trusted key: no egg is used"), "{}", list(0));
        assert!(list(1).contains("1 trusted key for 2 signatures"), "{}", list(1));
    }

    #[test]
    fn an_empty_list_says_what_to_do() {
        assert!(pins(&Pins::default()).contains("eggcache pin "));
        assert!(remotes(&Remotes::default()).contains("eggcache remote add "));
        let unreadable = Remotes { unreadable: true, ..Remotes::default() };
        assert!(remotes(&unreadable).contains("eggcache remote list"));
    }
}
