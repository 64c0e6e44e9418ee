//! What the bridge does with builds that depend on their machine: custom builds in a folder, missing
//! compilers and replaced libraries.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::{SOABI, Sandbox, host, make_egg};

/// A request to store an egg that was built in a folder, with the digest of that folder.
fn custom(egg: &Path, folder: &str, digest: &str) -> Value {
    json!({
        "op": "store", "path": egg, "source_sha256": "", "variant": "ab",
        "bound_variant": format!("ab.{digest}"), "folders": [folder],
    })
}

fn find(server: &mut Server, digest: &str) -> Value {
    let bound = format!("ab.{digest}");
    server.ask(&json!({
        "op": "find", "name": "foo", "variant": "ab", "bound_variant": bound, "version": "1.0",
    }))
}

#[test]
fn a_build_without_the_path_of_its_folder_is_found_in_others() {
    let sandbox = Sandbox::new();
    let mut server = Server::open(&sandbox, &host());
    let egg = sandbox.egg("foo", "1.0");
    assert_eq!(server.stored(&custom(&egg, "/srv/one", "1"))["outcome"], "stored");
    for digest in ["1", "2"] {
        assert_eq!(find(&mut server, digest)["eggs"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn a_build_with_the_path_of_its_folder_is_kept_once() {
    let sandbox = Sandbox::new();
    let mut server = Server::open(&sandbox, &host());
    let one = sandbox.egg_with("foo", "1.0", &[("path.txt", b"/srv/one/parts")]);
    assert_eq!(server.stored(&custom(&one, "/srv/one", "1"))["outcome"], "stored");
    assert_eq!(find(&mut server, "1")["eggs"].as_array().unwrap().len(), 1);
    let elsewhere = find(&mut server, "2");
    assert_eq!(elsewhere["eggs"], json!([]));
    let reason = "it contains the path of another folder and works only there";
    assert_eq!(elsewhere["rejected"][0]["reason"], reason);
    let other = sandbox.path("other/foo-1.0-py3.11.egg");
    make_egg(&other, "foo", "1.0", &[("path.txt", b"/srv/two/parts")]);
    assert_eq!(server.stored(&custom(&other, "/srv/two", "2"))["outcome"], "left");
    assert_eq!(sandbox.listed().len(), 1);
}

#[test]
fn other_options_are_a_reason_and_plain_eggs_are_none() {
    let sandbox = Sandbox::new();
    let mut server = Server::open(&sandbox, &host());
    server.store(&sandbox.egg("foo", "1.0"));
    assert_eq!(find(&mut server, "1")["rejected"], Value::Null);
    let store = json!({"op": "store", "path": sandbox.egg("foo", "1.0"), "source_sha256": "", "variant": "cd"});
    assert_eq!(server.stored(&store)["outcome"], "stored");
    let reason = "it was built with other options or against other files";
    assert_eq!(find(&mut server, "1")["rejected"][0]["reason"], reason);
}

fn native_egg(sandbox: &Sandbox, folder: &str, module: &[u8]) -> std::path::PathBuf {
    let egg = sandbox.path(folder).join("foo-1.0-py3.11-linux-x86_64.egg");
    make_egg(&egg, "foo", "1.0", &[(&format!("_foo.{SOABI}.so"), module)]);
    egg
}

#[test]
fn of_two_eggs_the_one_with_native_code_comes_first() {
    let sandbox = Sandbox::new();
    let mut server = Server::open(&sandbox, &host());
    let native = native_egg(&sandbox, "native", b"\x7fELF");
    for egg in [sandbox.egg("foo", "1.0"), native.clone()] {
        assert_eq!(server.store(&egg)["outcome"], "stored");
    }
    let names: Vec<Value> = server.find("foo").iter().map(|egg| egg["file_name"].clone()).collect();
    assert_eq!(names.len(), 2);
    assert_eq!(names[0], native.file_name().unwrap().to_str().unwrap());
}

#[test]
fn an_egg_that_may_lack_native_code_is_refused() {
    let sandbox = Sandbox::new();
    let mut server = Server::open(&sandbox, &host());
    let store = |egg: &Path| {
        json!({
            "op": "store", "path": egg, "source_sha256": "", "variant": "", "lacks_compiler": true,
        })
    };
    let refused = server.stored(&store(&sandbox.egg("foo", "1.0")));
    assert_eq!(refused["outcome"], "refused");
    let native = native_egg(&sandbox, "native", b"\x7fELF");
    assert_eq!(server.stored(&store(&native))["outcome"], "stored");
}

/// Links a shared library, with a name or for these libraries.
fn link(output: &Path, more: &[&str]) {
    let source = output.with_extension("c");
    std::fs::write(&source, "int depth(void) { return 1; }\n").unwrap();
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-o"]).arg(output).arg(&source).args(more);
    assert!(command.status().unwrap().success());
}

#[cfg(target_os = "linux")]
#[test]
fn an_egg_of_sources_whose_library_was_replaced_is_not_copied() {
    let sandbox = Sandbox::new();
    let lib = sandbox.path("lib");
    std::fs::create_dir(&lib).unwrap();
    let (first, second) = (lib.join("libdepth.so.1"), lib.join("libdepth.so.2"));
    link(&first, &["-Wl,-soname,libdepth.so.1"]);
    let module = sandbox.path("module.so");
    let run_path = format!("-Wl,-rpath,{}", lib.display());
    link(&module, &["-Wl,--no-as-needed", first.to_str().unwrap(), &run_path]);
    let egg = native_egg(&sandbox, "native", &std::fs::read(&module).unwrap());
    let mut host = host();
    host["libc"] = json!("glibc 9.99");
    for (source, is_served) in [("foo-1.0.tar.gz", false), ("foo-1.0-cp311-linux.whl", true)] {
        let _ = std::fs::rename(&second, &first);
        let sandbox = Sandbox::new();
        let mut server = Server::open(&sandbox, &host);
        let store = json!({
            "op": "store", "path": egg, "source_sha256": "", "variant": "", "source": source,
        });
        assert_eq!(server.stored(&store)["outcome"], "stored");
        let digest = server.find("foo")[0]["digest"].as_str().unwrap().to_owned();
        std::fs::rename(&first, &second).unwrap();
        let answer = server.materialize(&sandbox, &digest);
        assert_eq!(answer.get("path").is_some(), is_served, "{answer}");
        if !is_served {
            assert_eq!(answer["kind"], "unusable");
            assert!(answer["error"].as_str().unwrap().contains("needs libdepth.so.1"), "{answer}");
            assert!(server.find("foo").is_empty());
        }
    }
}
