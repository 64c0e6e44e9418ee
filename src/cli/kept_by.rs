//! The pins and buildouts that keep an egg, as text.

use crate::cache::retention::kept_by::{KeptBy, User};
use crate::cache::retention::pins::Pin;
use crate::cache::retention::roots::RootState;
use crate::util::clock::shown_day;

use super::format::{first_names, listed};

/// A line for each pin and each buildout.
pub fn lines(kept_by: &KeptBy) -> Vec<String> {
    let pins = kept_by.pins.iter().map(|pin| format!("pin {}", shown_pin(pin)));
    kept_by.roots.iter().map(user).chain(pins).collect()
}

/// The folder of a buildout, with its state unless it is there.
pub fn user(user: &User) -> String {
    let directory = user.directory.display();
    match user.state {
        RootState::Live => directory.to_string(),
        RootState::Gone { gone_since } => {
            format!("{directory} (gone since {})", shown_day(gone_since))
        }
        RootState::Elsewhere => format!("{directory} (on another machine)"),
    }
}

/// What keeps an egg, as the end of a sentence: "pinned by lxml and used by /srv/app". Names at most `few`
/// pins and `few` buildouts.
pub fn sentence(kept_by: &KeptBy, few: usize) -> String {
    let pins: Vec<String> = kept_by.pins.iter().map(shown_pin).collect();
    let roots: Vec<String> = kept_by.roots.iter().map(user).collect();
    let part = |how: &str, names: &[String]| {
        (!names.is_empty()).then(|| format!("{how} by {}", first_names(names, few)))
    };
    let parts: Vec<String> =
        [part("pinned", &pins), part("used", &roots)].into_iter().flatten().collect();
    listed(&parts)
}

fn shown_pin(pin: &Pin) -> String {
    match &pin.note {
        None => pin.what.clone(),
        Some(note) => format!("{} \"{note}\"", pin.what),
    }
}
