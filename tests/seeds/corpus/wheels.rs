//! Wheels of x 1.0.

use std::io::{Cursor, Write};

use crate::forge;

pub fn wheels() -> Vec<(&'static str, Vec<u8>)> {
    let members = |members: &[(&str, &str)]| {
        let mut bytes = b"m".to_vec();
        for (name, content) in members {
            bytes.push(u8::try_from(name.len()).unwrap());
            bytes.extend(u16::try_from(content.len()).unwrap().to_le_bytes());
            bytes.extend([name.as_bytes(), content.as_bytes()].concat());
        }
        bytes
    };
    let info =
        |file: &str, content: &str| members(&[(&format!("x-1.0.dist-info/{file}"), content)]);
    let usual = [
        ("x/__init__.py", "y = 1\n"),
        ("x-1.0.dist-info/METADATA", "Name: x\nVersion: 1.0\n"),
        ("x-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n"),
        ("x-1.0.dist-info/RECORD", "x/__init__.py,sha256=a,6\nx-1.0.dist-info/RECORD,,\n"),
    ];
    let deflated = {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in usual {
            zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    };
    let link = {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.add_symlink("x", "/", zip::write::SimpleFileOptions::default()).unwrap();
        zip.finish().unwrap().into_inner()
    };
    let names: Vec<String> = (0..100).map(|at| format!("x/{at}.py")).collect();
    let bomb = forge::overlapping_zip(&names, &vec![0; 1 << 20]);
    let raw = |zip: &[u8]| [b"z", zip].concat();
    vec![
        ("good-deflated", raw(&deflated)),
        (
            "good-package",
            members(&[("x/__init__.py", "y = 1\n"), ("x-1.0.dist-info/top_level.txt", "x\n")]),
        ),
        (
            "good-schemes",
            members(&[("x-1.0.data/purelib/x.py", ""), ("x-1.0.data/scripts/x", "#!python\n")]),
        ),
        ("good-scripts", info("entry_points.txt", "[console_scripts]\nx = x:main\n")),
        ("good-namespace", members(&[("n/__init__.py", "import pkgutil, extend_path\n")])),
        ("good-quoted-record", info("RECORD", "\"a,\"\"b\",,\n")),
        ("bad-empty", raw(b"")),
        ("bad-cut-off", raw(&deflated[..deflated.len() - 30])),
        ("bad-symlink", raw(&link)),
        ("bad-bomb", raw(&bomb)),
        ("bad-absolute", members(&[("/x.py", "")])),
        ("bad-parent", members(&[("x/../../y.py", "")])),
        ("bad-case", members(&[("x.py", ""), ("X.py", "")])),
        ("bad-bytecode", members(&[("x.pyc", "")])),
        ("bad-two-places", members(&[("x.py", ""), ("x-1.0.data/purelib/x.py", "")])),
        ("bad-scheme", members(&[("x-1.0.data/lib/x.py", "")])),
        ("bad-version", info("WHEEL", "Wheel-Version: 2.0\n")),
        ("bad-name", info("METADATA", "Name: y\nVersion: 1.0\n")),
        ("bad-record", info("RECORD", "\"x\n")),
        ("bad-record-outside", info("RECORD", "../x.py,,\n")),
        ("bad-script", info("entry_points.txt", "[console_scripts]\nx = x\n")),
        ("bad-top-level", info("top_level.txt", "../x\n")),
        ("bad-two-dist-infos", members(&[("y-1.0.dist-info/METADATA", "")])),
    ]
}
