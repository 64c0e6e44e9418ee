//! Properties of wheels.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use eggcache::internals::EggPath;
use eggcache::internals::name::EggName;
use eggcache::internals::sha256::Sha256;
use eggcache::internals::wheel::archive::Archive;
use eggcache::internals::wheel::plan::{Bytecode, Origin, Original, Plan};
use eggcache::internals::wheel::target::Target;

use super::zip_egg::members;
use crate::forge;

/// How much of a wheel is unpacked, in bytes.
const MOST: u64 = 1 << 20;

/// A wheel of x 1.0. The first byte says how the rest becomes one: `m` adds members to sound metadata,
/// as `zip_egg` splits them; anything else uses the input as it is.
pub fn wheel(input: &[u8]) -> bool {
    let Some((how, rest)) = input.split_first() else { return false };
    if *how != b'm' {
        return plan(rest.to_vec());
    }
    let sound = [
        ("x-1.0.dist-info/METADATA", "Name: x\nVersion: 1.0\n"),
        ("x-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n"),
        ("x-1.0.dist-info/RECORD", "x.py,sha256=a,1\nx-1.0.dist-info/RECORD,,\n"),
    ];
    let added = members(rest);
    let has = |name: &str| added.iter().any(|member| member.name == name.as_bytes());
    let mut all: Vec<forge::Member<'_>> = sound
        .iter()
        .filter(|(name, _)| !has(name))
        .map(|(name, content)| forge::Member { name: name.as_bytes(), content: content.as_bytes() })
        .collect();
    all.extend(added.iter().cloned());
    plan(forge::zip(&all))
}

fn plan(bytes: Vec<u8>) -> bool {
    let target = Target {
        executable: "/venv/bin/python".into(),
        implementation: "cpython".into(),
        version: (3, 11, 7),
        cache_tag: "cpython-311".into(),
        platform: "linux-x86_64".into(),
        is_virtual: true,
        pip: Some("26.3".into()),
        buildout: None,
    };
    let Ok(mut archive) = Archive::from_bytes(bytes) else { return false };
    let path = Path::new("/x-1.0-py3-none-any.whl");
    let original = Original { path, sha256: Sha256::of(b"") };
    let Ok(plan) = Plan::of(&mut archive, original, &target, Origin::Portable) else {
        return false;
    };
    let egg: EggName = plan.egg_name.parse().unwrap();
    assert_eq!((&*egg.version, &*egg.python, &*egg.platform), ("1.0", "3.11", "linux-x86_64"));
    let members = archive.members.clone();
    let mut paths = HashSet::new();
    for file in plan.files(&members) {
        EggPath::new(file.path).unwrap();
        assert!(paths.insert(file.path.to_lowercase()), "{}", file.path);
        if let Ok(content) = archive.content(file.member, MOST) {
            assert_eq!(content.len() as u64, file.member.size);
        }
    }
    let bytecode = Bytecode::of(&target, 0);
    for (path, _) in plan.metadata(&members, &HashSet::new(), &HashMap::new(), &bytecode) {
        EggPath::new(path.as_str()).unwrap();
        assert!(paths.insert(path.to_lowercase()), "{path}");
    }
    true
}
