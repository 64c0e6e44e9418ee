//! Wheels to convert, and the Python for that.

use std::path::PathBuf;

use crate::support::{Sandbox, chmod, write};

/// A Python that has a known pip.
pub const PYTHON: &str = "./python";

pub fn write_python(sandbox: &Sandbox) {
    write(&sandbox.path("site/pip-26.0.dist-info/METADATA"), b"Name: pip\nVersion: 26.0\n");
    // Not a script that finds one, and without the modules of this machine: it is traced, which is slow.
    let mut real = sandbox.process("python3");
    let real = real.args(["-c", "import sys; print(sys.executable)"]).output().unwrap().stdout;
    let script = format!(
        "#!/bin/sh\nPYTHONPATH='{}' exec '{}' -S \"$@\"\n",
        sandbox.path("site").canonicalize().unwrap().display(),
        String::from_utf8(real).unwrap().trim()
    );
    write(&sandbox.path("python"), script.as_bytes());
    chmod(&sandbox.path("python"), 0o755);
}

/// Writes a wheel with packages and one without, and returns their paths.
pub fn write_wheels(sandbox: &Sandbox) -> [PathBuf; 2] {
    ["packaged", "flat"].map(|name| {
        let info = format!("{name}-1.0.dist-info");
        let mut files = vec![
            (format!("{name}/__init__.py"), "x = 1\n".to_owned()),
            (format!("{name}/wrong.py"), "def\n".to_owned()),
            (format!("{name}/data/text.txt"), "text".repeat(100)),
            (
                format!("{info}/METADATA"),
                format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"),
            ),
            (format!("{info}/WHEEL"), "Wheel-Version: 1.0\n".to_owned()),
        ];
        if name == "packaged" {
            files.push((format!("{info}/top_level.txt"), format!("{name}\n")));
        }
        let rows: Vec<String> = files.iter().map(|(path, _)| format!("{path},,\n")).collect();
        files.push((format!("{info}/RECORD"), format!("{}{info}/RECORD,,\n", rows.concat())));
        let folder = sandbox.path(&format!("unpacked-{name}"));
        for (path, content) in files {
            write(&folder.join(path), content.as_bytes());
        }
        let wheel = sandbox.path(&format!("wheels/{name}-1.0-py3-none-any.whl"));
        std::fs::create_dir_all(sandbox.path("wheels")).unwrap();
        let mut zip = sandbox.process("python3");
        zip.args(["-m", "zipfile", "-c"]).arg(&wheel).args([name, &info]);
        assert!(zip.current_dir(folder).status().unwrap().success());
        wheel
    })
}
