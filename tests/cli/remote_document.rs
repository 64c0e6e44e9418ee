//! The examples of docs/reference/remote.md agree with the library.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use eggcache::Digest;
use eggcache::internals::entry::Signed;
use eggcache::internals::keys::Trusted;
use eggcache::internals::object_names;
use eggcache::internals::signature;
use eggcache::{EggKey, Host};
use serde_json::Value;

use crate::pool::Pool;
use crate::support::{skip, text, write};

/// The fenced blocks of the page, in order.
fn blocks() -> Vec<String> {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/remote.md"));
    let page = page.unwrap();
    let parts: Vec<&str> = page.split("```").collect();
    let inside = parts.iter().skip(1).step_by(2);
    inside.map(|block| block.split_once('\n').unwrap().1.trim_end().to_owned()).collect()
}

#[test]
fn the_examples_of_the_remote_page_are_correct() {
    let blocks = blocks();
    let [key, entry_name, set, set_name, lease, lease_name, line, public, ..] = &blocks[..] else {
        panic!("{blocks:?}")
    };
    // As a program in another language would do it.
    for (json, name) in [(key, entry_name), (set, set_name), (lease, lease_name)] {
        let digest = Digest::of(json.as_bytes()).to_string();
        assert!(name.ends_with(&digest), "{name}: {digest}");
    }
    // As the library does it.
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let key: EggKey = serde_json::from_str(key).unwrap();
    assert_eq!(object_names::entry(&key), *entry_name);
    let set = json(set);
    let host: Host = serde_json::from_value(set["host"].clone()).unwrap();
    assert_eq!(object_names::set(text(&set["configuration"]), &host), *set_name);
    let lease = json(lease);
    let [name, version, variant] = ["name", "version", "variant"].map(|it| text(&lease[it]));
    assert_eq!(object_names::lease(name, version, variant, &host), *lease_name);

    let signed = Signed::parse(line).unwrap();
    let trusted = [Trusted::new(public.clone())];
    let entry = signature::verified(&signed, signature::Trust::any(&trusted), 0).unwrap();
    assert_eq!(entry.key, key);
    assert_eq!(entry.text(), signed.entry);
    assert!(signed.entry.contains(&object_names::blob(entry.blob)[12..]));
}

/// nginx with a configuration in `folder`, stopped when dropped.
struct Nginx(Child);

impl Nginx {
    /// `None`, with a message, if nginx is not installed.
    fn start(folder: &Path, server: &str) -> Option<Self> {
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let conf = format!(
            "{user} daemon off; error_log stderr; pid {0}/nginx.pid; events {{}}\n\
             http {{ access_log off; client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; \
             fastcgi_temp_path {0}/fastcgi; uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;\n\
             {server} }}\n",
            folder.display()
        );
        write(&folder.join("nginx.conf"), conf.as_bytes());
        let mut nginx = Command::new("nginx");
        nginx.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
        let Ok(child) = nginx.stderr(Stdio::null()).spawn() else {
            skip("there is no nginx");
            return None;
        };
        Some(Self(child))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// The head of an HTTP answer.
fn head(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "HEAD /{path} HTTP/1.0\r\nHost: eggs.example\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_nginx_configuration_of_the_page_serves_a_mirror() {
    let pool = Pool::with_two();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = blocks().into_iter().find(|block| block.starts_with("server {")).unwrap();
    let server = server
        .replace("listen 443 ssl;", &format!("listen 127.0.0.1:{port};"))
        .replace("/srv/eggs", pool.sandbox.path("").to_str().unwrap());
    let Some(_nginx) = Nginx::start(&pool.sandbox.path("nginx"), &server) else { return };
    for _ in 0..100 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    pool.of("other-reader", &format!("remote add web http://127.0.0.1:{port}/pool --key key.pub"));
    pool.of("other-reader", "materialize --into out foo==1.0 bar==2.0 --python 3.11");
    assert_eq!(pool.eggs("out").len(), 2);
    for name in pool.objects() {
        let head = head(port, &format!("pool/{name}"));
        let age = match name.split('/').nth(1).unwrap() {
            "blobs" => "public, max-age=31536000, immutable",
            "entries" => "public, max-age=86400",
            _ => "no-cache",
        };
        assert!(head.starts_with("HTTP/1.1 200"), "{name}: {head}");
        assert!(head.contains(&format!("Cache-Control: {age}\r\n")), "{name}: {head}");
        assert!(head.contains("ETag:"), "{name}: {head}");
    }
    assert!(head(port, "key").starts_with("HTTP/1.1 404"), "the secret key is not served");
}
