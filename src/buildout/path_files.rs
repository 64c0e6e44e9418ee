//! Files that point to where code is: `.pth` files and `.egg-link`s.

/// The paths that a `.pth` file adds, as its lines have them. Lines that begin with `import` are run
/// and add no path by themselves (Python's `site` module).
pub fn pth_paths(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_end).filter(|line| {
        !line.trim().is_empty()
            && !line.starts_with('#')
            && !["import ", "import\t"].iter().any(|start| line.starts_with(start))
    })
}

/// Where an `.egg-link` leads: its first line, the folder that the develop egg's metadata is in. The
/// second line is relative to it.
#[must_use]
pub fn egg_link_target(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_pth_file_that_are_paths_are_told() {
        let text = "# comment\n\nimport os; os.x\nimport\tsys\n./a.egg\n/srv/b  \nimported\n";
        let paths: Vec<&str> = pth_paths(text).collect();
        assert_eq!(paths, ["./a.egg", "/srv/b", "imported"]);
    }

    #[test]
    fn an_egg_link_leads_to_its_first_line() {
        assert_eq!(egg_link_target("/src/foo\n../"), Some("/src/foo"));
        assert_eq!(egg_link_target("\n  /src/foo/src \n.\n"), Some("/src/foo/src"));
        assert_eq!(egg_link_target("\n"), None);
    }
}
