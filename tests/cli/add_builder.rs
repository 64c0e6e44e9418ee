//! What `add` reads from the files of an egg about its builder.

use crate::forge;
use crate::serve::{Server, host_with};
use crate::support::{Sandbox, make_egg, write};

/// A shared object that imports these symbols.
fn object_that_imports(symbols: &[&str]) -> Vec<u8> {
    let (mut strings, mut table) = (vec![0], vec![0; 24]);
    for name in symbols {
        table.extend(u32::try_from(strings.len()).unwrap().to_le_bytes());
        table.extend([0; 20]);
        strings.extend([name.as_bytes(), b"\0"].concat());
    }
    forge::object(&strings, &[(11, &table)])
}

#[test]
fn an_egg_that_uv_has_installed_is_not_offered_to_a_buildout_with_pip() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("foo", "1.0");
    write(&egg.join("foo-1.0.dist-info/INSTALLER"), b"uv");
    // The installer of another distribution, which is in the package.
    let other = sandbox.egg("bar", "1.0");
    write(&other.join("bar/vendored/foo-1.0.dist-info/INSTALLER"), b"uv");
    write(&other.join("bar-1.0.dist-info/INSTALLER"), b"pip\n");
    sandbox.ok("add eggs");
    assert_eq!(sandbox.json("show foo")["variant"], "uv");
    assert_eq!(sandbox.json("show bar")["variant"], "");
    let mut server = Server::open(&sandbox, &crate::support::host());
    assert_eq!((server.find("foo").len(), server.find("bar").len()), (0, 1));
    server.close();
}

#[test]
fn extension_modules_of_python_2_show_the_size_of_its_characters() {
    for (symbol, abi) in [
        ("PyUnicodeUCS4_AsUTF8String", "cp27mu"),
        ("PyUnicodeUCS2_AsUTF8String", "cp27m"),
        ("PyInt_FromLong", ""),
    ] {
        let sandbox = Sandbox::new();
        let object = object_that_imports(&["malloc", symbol]);
        let egg = sandbox.path("eggs/foo-1.0-py2.7-linux-x86_64.egg");
        make_egg(&egg, "foo", "1.0", &[("_foo.so", &object)]);
        sandbox.ok("add eggs");
        assert_eq!(sandbox.json("show foo")["abi"], abi, "{symbol}");
        for host_abi in ["cp27m", "cp27mu"] {
            let mut host = host_with("soabi", host_abi);
            host["python"] = "2.7".into();
            let mut server = Server::open(&sandbox, &host);
            let found = server.find("foo").len();
            assert_eq!(
                found,
                usize::from(abi.is_empty() || abi == host_abi),
                "{symbol} {host_abi}"
            );
            server.close();
        }
    }
}
