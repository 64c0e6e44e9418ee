//! Where a web server may send a reader.
//!
//! Requests to web servers carry no credentials, and whatever arrives is checked. But a redirect makes this
//! machine send a GET where the server cannot reach: to a device in the local network, or to the service
//! that gives credentials to a cloud machine. So another host is only followed by https and by its name.
//! Such services speak http, or have no certificate for a name.

use std::error::Error as StdError;
use std::fmt;

use reqwest::redirect::{Action, Attempt, Policy};
use url::{Host, Url};

/// Most redirects of one request.
const MOST: usize = 5;

/// Why a redirect is not followed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    TooMany,
    WithoutTls,
    OtherHost(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(out, "it redirects more than {MOST} times"),
            Self::WithoutTls => out.write_str("it redirects from https to http"),
            Self::OtherHost(host) => {
                write!(out, "it redirects to {host}, which is not an https address with a name")
            }
        }
    }
}

impl StdError for Refused {}

/// Follows redirects that [`check`] allows.
pub(super) fn checked() -> Policy {
    let follow = |attempt: Attempt<'_>| -> Action {
        match check(attempt.previous(), attempt.url()) {
            Ok(()) => attempt.follow(),
            Err(refused) => attempt.error(refused),
        }
    };
    Policy::custom(follow)
}

/// Checks a redirect, after the addresses that were asked before.
pub(super) fn check(previous: &[Url], next: &Url) -> Result<(), Refused> {
    let is_tls = next.scheme() == "https";
    if previous.len() > MOST {
        return Err(Refused::TooMany);
    }
    if !is_tls && previous.iter().any(|url| url.scheme() == "https") {
        return Err(Refused::WithoutTls);
    }
    let is_same_host = previous.first().is_some_and(|first| first.host() == next.host());
    let has_name = matches!(next.host(), Some(Host::Domain(name)) if !is_local(name));
    if is_same_host || (is_tls && has_name) {
        return Ok(());
    }
    Err(Refused::OtherHost(next.host_str().unwrap_or_default().to_owned()))
}

/// Whether a name means this machine.
fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(previous: &[&str], next: &str) -> Result<(), Refused> {
        let url = |text: &&str| Url::parse(text).unwrap();
        let previous: Vec<Url> = previous.iter().map(url).collect();
        check(&previous, &url(&next))
    }

    #[test]
    fn a_redirect_leads_to_the_same_host_or_to_a_name_by_https() {
        for (from, to) in [
            ("http://eggs.example/a", "http://eggs.example/b"),
            ("http://eggs.example/a", "http://eggs.example:8080/a"),
            ("http://eggs.example/a", "https://eggs.example/a"),
            ("http://127.0.0.1:1/a", "http://127.0.0.1:2/a"),
            ("https://eggs.example/a", "https://blobs.example/a"),
            ("http://eggs.example/a", "https://blobs.example/a"),
        ] {
            assert_eq!(followed(&[from], to), Ok(()), "{from} {to}");
        }
    }

    #[test]
    fn a_redirect_into_a_local_network_or_without_tls_is_refused() {
        for to in [
            "http://blobs.example/a",
            "http://169.254.169.254/latest/meta-data",
            "https://169.254.169.254/",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://[::1]/",
            "https://localhost/",
            "https://a.localhost./",
        ] {
            let refused = followed(&["http://eggs.example/a"], to);
            assert!(matches!(refused, Err(Refused::OtherHost(_))), "{to}: {refused:?}");
        }
        let tls = "https://eggs.example/a";
        assert_eq!(followed(&[tls], "http://eggs.example/a"), Err(Refused::WithoutTls));
        let detour = ["http://eggs.example/", "https://blobs.example/"];
        assert_eq!(followed(&detour, "http://eggs.example/a"), Err(Refused::WithoutTls));
    }

    #[test]
    fn a_chain_of_redirects_ends() {
        let same = "https://eggs.example/a";
        assert_eq!(followed(&[same; MOST], same), Ok(()));
        assert_eq!(followed(&[same; MOST + 1], same), Err(Refused::TooMany));
    }
}
