//! Files that contain paths of Python code: `.pth` files and `.egg-link` files.

/// The paths that a `.pth` file adds, as its lines have them. Python runs the lines that begin with
/// `import`; these add no path by themselves (module `site`).
pub fn pth_paths(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_end).filter(|line| {
        !line.trim().is_empty()
            && !line.starts_with('#')
            && !["import ", "import\t"].iter().any(|start| line.starts_with(start))
    })
}

/// The folder with the metadata of a develop egg: the first line of an `.egg-link`. The second line is
/// relative to it.
#[must_use]
pub fn egg_link_target(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_imports_of_a_pth_file_are_no_paths() {
        let text = "# comment\n\nimport os; os.x\nimport\tsys\n./a.egg\n/srv/b  \nimported\n";
        let paths: Vec<&str> = pth_paths(text).collect();
        assert_eq!(paths, ["./a.egg", "/srv/b", "imported"]);
    }

    #[test]
    fn the_target_of_an_egg_link_is_its_first_line() {
        assert_eq!(egg_link_target("/src/foo\n../"), Some("/src/foo"));
        assert_eq!(egg_link_target("\n  /src/foo/src \n.\n"), Some("/src/foo/src"));
        assert_eq!(egg_link_target("\n"), None);
    }
}
