//! Wheels to convert, the Python for that, and the requests of a buildout that converts them.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use eggcache::internals::sha256::Sha256;

use crate::support::{EGGCACHE, Sandbox, chmod, host, names_in, umask, write};

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
        fs::create_dir_all(sandbox.path("wheels")).unwrap();
        let mut zip = sandbox.process("python3");
        zip.args(["-m", "zipfile", "-c"]).arg(&wheel).args([name, &info]);
        assert!(zip.current_dir(folder).status().unwrap().success());
        wheel
    })
}

/// A sandbox's requests for eggs of its wheels. All paths are relative to it.
pub struct Requests {
    /// The Python, as buildout describes it.
    python: Value,
}

impl Requests {
    /// Writes the Python and the wheels, and makes a cache that converts them.
    pub fn prepared(sandbox: &Sandbox) -> Self {
        write_python(sandbox);
        write_wheels(sandbox);
        let mut describe = sandbox.process(PYTHON);
        describe.arg("-c").arg(include_str!("../../src/ops/convert/describe_python.py"));
        let mut python: Value = serde_json::from_slice(&describe.output().unwrap().stdout).unwrap();
        python["buildout"] = json!("6.0.1");
        let requests = Self { python };
        fs::create_dir_all(sandbox.path("out")).unwrap();
        fs::create_dir_all(sandbox.path("stock/flat-1.0.egg")).unwrap();
        ask(sandbox, &[requests.compare("flat")]);
        let record = parity_record(sandbox);
        let mut parity: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
        parity["difference"] = Value::Null;
        write(&record, parity.to_string().as_bytes());
        requests
    }

    pub fn open() -> Value {
        json!({"op": "open", "cache": "cache", "host": host(), "buildout": "6.0.1"})
    }

    pub fn convert(&self, project: &str) -> Value {
        json!({
            "op": "convert",
            "wheel": wheel(project),
            "into": "out",
            "python": self.python,
            "setuptools": "81.0.0",
            "code": "00",
            "environment": {},
            "umask": u32::from_str_radix(&umask(), 8).unwrap(),
        })
    }

    /// Announces a wheel, so that its egg is made ahead.
    pub fn prepare(&self, sandbox: &Sandbox, project: &str) -> Value {
        let mut convert = self.convert(project);
        convert.as_object_mut().unwrap().remove("op");
        json!({"op": "prepare", "sha256": digest(sandbox, project), "convert": convert})
    }

    /// Compares the egg of a wheel with another one, which is not equal.
    pub fn compare(&self, project: &str) -> Value {
        let mut compare = self.convert(project);
        compare["stock"] = json!(format!("stock/{project}-1.0.egg"));
        compare
    }

    /// As [`Requests::compare`], with a pip of which no egg was compared.
    pub fn compare_other_pip(&self, project: &str) -> Value {
        let mut compare = self.compare(project);
        compare["python"]["pip"] = json!("25.0");
        compare
    }

    /// Stores the egg of a wheel.
    pub fn store(sandbox: &Sandbox, project: &str, egg: &str) -> Value {
        let (source, sha256) =
            (format!("{project}-1.0-py3-none-any.whl"), digest(sandbox, project));
        let path = format!("out/{egg}");
        json!({"op": "store", "path": path, "source": source, "source_sha256": sha256, "variant": ""})
    }
}

/// Opens the cache, sends requests and returns the answers to them.
pub fn ask(sandbox: &Sandbox, requests: &[Value]) -> Vec<Value> {
    let lines = [&[Requests::open()], requests].concat();
    let lines: Vec<String> = lines.iter().map(|request| format!("{request}\n")).collect();
    write(&sandbox.path("asked"), lines.concat().as_bytes());
    let mut shell = sandbox.process("sh");
    shell.args(["-c", "exec \"$0\" serve <asked", EGGCACHE]);
    let output = shell.output().unwrap();
    assert!(output.status.success());
    let lines = output.stdout.split_inclusive(|&byte| byte == b'\n');
    let answers = lines.map(|line| serde_json::from_slice::<Value>(line).unwrap());
    // Without the greeting, and what was opened.
    answers.filter(|answer| *answer != json!({"busy": true})).skip(2).collect()
}

fn wheel(project: &str) -> String {
    format!("wheels/{project}-1.0-py3-none-any.whl")
}

fn digest(sandbox: &Sandbox, project: &str) -> String {
    Sha256::of(&fs::read(sandbox.path(&wheel(project))).unwrap()).to_string()
}

/// The path of the only record of a comparison.
pub fn parity_record(sandbox: &Sandbox) -> PathBuf {
    let names = names_in(&sandbox.path("cache/parity"));
    assert_eq!(names.len(), 1, "{names:?}");
    sandbox.path("cache/parity").join(&names[0])
}
