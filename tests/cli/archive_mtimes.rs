//! Archives lose fractions of mtimes: a buildout that was in one is unchanged.

use crate::support::{Sandbox, touch, write};

#[test]
fn archives_that_lose_fractions_of_mtimes_change_nothing() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg_with("alpha", "1.0", &[("one.py", b"1"), ("two.py", b"2")]);
    touch(&egg.join("one.py"), 1_600_000_000, 123_456_789);
    touch(&egg.join("two.py"), 1_600_000_000, 999_999_950);
    sandbox.ok("add eggs");
    sandbox.ok("materialize --into app/eggs alpha==1.0");
    let script = "#!/bin/sh\nbase = os.path.dirname(base)\nsys.path[0:0] = [\n  \
                  join(base, 'eggs/alpha-1.0-py3.11.egg'),\n]\n";
    write(&sandbox.path("app/bin/app"), script.as_bytes());
    write(&sandbox.path("app/buildout.cfg"), b"[buildout]\n");
    let python = |format: &str| {
        let open = format!("tarfile.open('x.tar', 'w', format=tarfile.{format})");
        format!("python3 -c \"import tarfile; tar = {open}; tar.add('app'); tar.close()\"")
    };
    let by_python = "python3 -c \"import tarfile; tarfile.open('x.tar').extractall('out')\"";
    for pack in [
        "$EGGCACHE --cache cache bundle app -o x.tar",
        "tar --format=gnu -cf x.tar app",
        "tar --format=pax -cf x.tar app",
        &python("GNU_FORMAT"),
        &python("PAX_FORMAT"),
    ] {
        for unpack in ["tar -xf x.tar -C out", by_python] {
            sandbox.shell(&format!("rm -rf out x.tar; mkdir out; {pack} && {unpack}"));
            let report = sandbox.json("check --full out/app");
            assert_eq!(report["compared"], 1);
            let notes = report["notes"].as_array().unwrap();
            assert!(notes.iter().all(|it| it["kind"] != "touched"), "{pack}, {unpack}: {notes:#?}");
        }
    }
}
