//! File names of wheels, and whether their tags fit a Python.

use pep440_rs::Version;

use super::reason::Reason;
use super::target::Target;

/// The parts of `NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelName {
    pub name: String,
    pub version: Version,
    tags: String,
}

impl WheelName {
    pub fn parse(file_name: &str) -> Result<Self, Reason> {
        let stem = file_name.strip_suffix(".whl").ok_or(Reason::FileName)?;
        let parts: Vec<&str> = stem.split('-').collect();
        let (name, version, tags) = match *parts.as_slice() {
            [name, version, ref tags @ ..] if tags.len() == 3 => (name, version, tags),
            [name, version, build, ref tags @ ..]
                if tags.len() == 3 && build.starts_with(|c: char| c.is_ascii_digit()) =>
            {
                (name, version, tags)
            }
            _ => return Err(Reason::FileName),
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        let is_name = !name.is_empty() && name.chars().all(is_plain);
        if !is_name || tags.iter().any(|tag| tag.is_empty() || !tag.chars().all(is_plain)) {
            return Err(Reason::FileName);
        }
        // A `_` stands for a `-`, for example in a local version.
        let version = version.parse().map_err(|_| Reason::FileName)?;
        Ok(Self { name: name.to_owned(), version, tags: tags.join("-") })
    }

    /// Refuses a wheel for another Python, ABI or machine. The version of the C library is not
    /// compared: buildout and pip choose by it.
    pub fn check_tags(&self, target: &Target) -> Result<(), Reason> {
        let mut parts = self.tags.split('-').map(|tags| tags.split('.'));
        let (Some(pythons), Some(abis), Some(platforms)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(Reason::FileName);
        };
        let fits = pythons
            .flat_map(|python| abis.clone().map(move |abi| (python, abi)))
            .any(|(python, abi)| fits_python(python, abi, target));
        if fits && platforms.clone().any(|platform| fits_platform(platform, target)) {
            return Ok(());
        }
        Err(Reason::Tags(self.tags.clone()))
    }
}

fn fits_python(python: &str, abi: &str, target: &Target) -> bool {
    let (major, minor, _) = target.version;
    let Some(at) = python.find(|c: char| c.is_ascii_digit()) else { return false };
    let (implementation, number) = python.split_at(at);
    let Some(wanted) = number.strip_prefix(&major.to_string()) else { return false };
    let wanted: Option<u32> = wanted.parse().ok();
    match (implementation, abi) {
        ("py", "none") => wanted.is_none_or(|wanted| wanted <= minor),
        ("cp", "abi3") => wanted.is_some_and(|wanted| wanted <= minor) && is_cpython(target),
        ("cp", "none") => wanted.is_none_or(|wanted| wanted == minor) && is_cpython(target),
        ("cp", abi) => wanted == Some(minor) && abi == python && is_cpython(target),
        _ => false,
    }
}

fn is_cpython(target: &Target) -> bool {
    target.implementation == "cpython"
}

fn fits_platform(platform: &str, target: &Target) -> bool {
    let Some(machine) = target.machine() else { return false };
    let system = platform.strip_suffix(machine).and_then(|system| system.strip_suffix('_'));
    platform == "any" || system.is_some_and(|it| it == "linux" || it.starts_with("manylinux"))
}

#[cfg(test)]
mod tests {
    use super::super::target::tests::target;
    use super::*;

    #[test]
    fn names_of_wheels_are_parsed() {
        let name =
            WheelName::parse("zope_interface-8.7-cp311-cp311-manylinux1_x86_64.whl").unwrap();
        assert_eq!(
            (name.name.as_str(), name.version.to_string().as_str()),
            ("zope_interface", "8.7")
        );
        for name in [
            "a.whl",
            "a-1.whl",
            "a-1.tar.gz",
            "a-1-py3-none.whl",
            "a-1-x-py3-none-any.whl",
            "-1-py3-none-any.whl",
            "a-x-py3-none-any.whl",
            "a b-1-py3-none-any.whl",
            "a-1-py3-none-any-any-any.whl",
        ] {
            assert_eq!(WheelName::parse(name), Err(Reason::FileName), "{name}");
        }
    }

    #[test]
    fn tags_fit_this_python_or_not() {
        let fits = |tags: &str| {
            let name = WheelName::parse(&format!("a-1-{tags}.whl")).unwrap();
            name.check_tags(&target()).is_ok()
        };
        for tags in [
            "py3-none-any",
            "py2.py3-none-any",
            "py310-none-any",
            "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64",
            "cp38-abi3-linux_x86_64",
            "1-py3-none-any",
        ] {
            assert!(fits(tags), "{tags}");
        }
        for tags in [
            "py2-none-any",
            "py312-none-any",
            "cp310-cp310-linux_x86_64",
            "cp312-abi3-linux_x86_64",
            "cp311-cp311t-linux_x86_64",
            "cp311-cp311-manylinux2014_aarch64",
            "cp311-cp311-macosx_11_0_x86_64",
            "py3-none-win_amd64",
            "pp311-pypy311_pp73-linux_x86_64",
        ] {
            assert!(!fits(tags), "{tags}");
        }
    }
}
