//! An object store in memory that behaves like S3 with one bucket. A hook before each request can
//! simulate what other clients do, always at the same moment.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;

#[derive(Debug, Clone)]
pub struct Object {
    pub bytes: Vec<u8>,
    version: u64,
    /// Seconds since the Unix epoch.
    pub modified_at: i64,
}

type Hook = Box<dyn FnMut(&str, &mut Objects) + Send>;

/// The content of the store.
#[derive(Debug)]
pub struct Objects {
    pub all: BTreeMap<String, Object>,
    /// How many seconds its clock is ahead of this machine's, or behind if negative.
    pub clock: i64,
    versions: u64,
    /// The method and the name of each request.
    pub log: Vec<String>,
}

impl Objects {
    pub fn now(&self) -> i64 {
        Timestamp::now().as_second() + self.clock
    }

    pub fn put(&mut self, name: &str, bytes: Vec<u8>) -> u64 {
        self.versions += 1;
        let object = Object { bytes, version: self.versions, modified_at: self.now() };
        self.all.insert(name.to_owned(), object);
        self.versions
    }

    /// The names of all objects below a folder.
    pub fn below(&self, folder: &str) -> Vec<String> {
        self.all.keys().filter(|name| name.starts_with(folder)).cloned().collect()
    }

    /// Makes all objects this old.
    pub fn age(&mut self, seconds: i64) {
        let now = self.now();
        for object in self.all.values_mut() {
            object.modified_at = now - seconds;
        }
    }

    /// The position in the log of the first request that starts with this text.
    #[track_caller]
    pub fn first(&self, request: &str) -> usize {
        let found = self.log.iter().position(|it| it.starts_with(request));
        found.unwrap_or_else(|| panic!("{request} is not in {:?}", self.log))
    }
}

#[derive(Clone)]
pub struct Store {
    pub port: u16,
    objects: Arc<Mutex<Objects>>,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl Store {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let objects = Objects { all: BTreeMap::new(), clock: 0, versions: 0, log: Vec::new() };
        let store = Self {
            port: listener.local_addr().unwrap().port(),
            objects: Arc::new(Mutex::new(objects)),
            hook: Arc::default(),
        };
        let server = store.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = server.clone();
                std::thread::spawn(move || server.serve(&stream));
            }
        });
        store
    }

    pub fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap()
    }

    /// Runs a hook before each request from now on.
    pub fn before_each(&self, hook: impl FnMut(&str, &mut Objects) + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
        self.objects().log.clear();
    }

    pub fn leave_alone(&self) {
        *self.hook.lock().unwrap() = None;
    }

    /// Answers the requests of one connection.
    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        loop {
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                match line.trim_end() {
                    "" => break,
                    line => lines.push(line.to_owned()),
                }
            }
            let header = |name: &str| {
                let lines = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
                let mut lines = lines.filter(|(it, _)| it.eq_ignore_ascii_case(name));
                lines.next().map(|(_, value)| value.trim().to_owned())
            };
            let length = header("content-length").map_or(0, |text| text.parse().unwrap());
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let (method, rest) = lines[0].split_once(' ').unwrap();
            let path = rest.split(' ').next().unwrap();
            let (status, headers, answer) = self.answer(method, path, &header, body);
            let mut text = format!("HTTP/1.1 {status} -\r\n{headers}");
            if !headers.contains("Content-Length") {
                let _ = write!(text, "Content-Length: {}\r\n", answer.len());
            }
            let sent = [text.as_bytes(), b"\r\n", &answer].concat();
            let mut stream = stream;
            if stream.write_all(&sent).is_err() {
                return;
            }
        }
    }

    fn answer(
        &self,
        method: &str,
        path: &str,
        header: &dyn Fn(&str) -> Option<String>,
        body: Vec<u8>,
    ) -> (u16, String, Vec<u8>) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let name = path.trim_start_matches("/eggs").trim_start_matches('/').to_owned();
        let mut objects = self.objects();
        let prefix = query.split('&').find_map(|it| it.strip_prefix("prefix=")).unwrap_or_default();
        let prefix = prefix.replace("%2F", "/");
        let keys = |body: &[u8]| -> Vec<String> {
            let text = String::from_utf8_lossy(body).into_owned();
            let parts = text.split("<Key>").skip(1);
            parts.map(|part| part.split('<').next().unwrap().to_owned()).collect()
        };
        let request = match (method, name.as_str()) {
            ("GET", "") => format!("LIST {prefix}"),
            ("POST", _) => format!("DELETE {}", keys(&body).join(" ")),
            _ => format!("{method} {name}"),
        };
        if let Some(hook) = &mut *self.hook.lock().unwrap() {
            hook(&request, &mut objects);
        }
        objects.log.push(request);
        let none = (404, String::new(), b"<Error><Code>NoSuchKey</Code></Error>".to_vec());
        let found = objects.all.get(&name).cloned();
        match method {
            "GET" if name.is_empty() => {
                let mut xml = String::from("<ListBucketResult><IsTruncated>false</IsTruncated>");
                for (name, object) in objects.all.iter().filter(|it| it.0.starts_with(&prefix)) {
                    let time = Timestamp::from_second(object.modified_at).unwrap();
                    let _ = write!(
                        xml,
                        "<Contents><Key>{name}</Key><LastModified>{time}</LastModified>\
                         <ETag>\"{}\"</ETag><Size>{}</Size></Contents>",
                        object.version,
                        object.bytes.len()
                    );
                }
                (200, String::new(), (xml + "</ListBucketResult>").into_bytes())
            }
            "GET" | "HEAD" => {
                let Some(object) = found else { return none };
                let time = Timestamp::from_second(object.modified_at).unwrap();
                let headers = format!(
                    "ETag: \"{}\"\r\nLast-Modified: {}\r\nContent-Length: {}\r\n",
                    object.version,
                    time.strftime("%a, %d %b %Y %H:%M:%S GMT"),
                    object.bytes.len()
                );
                (200, headers, if method == "GET" { object.bytes } else { Vec::new() })
            }
            "PUT" => {
                let is_wanted = match (header("if-none-match"), header("if-match")) {
                    (Some(_), _) => found.is_none(),
                    (None, Some(tag)) => {
                        found.is_some_and(|it| it.version.to_string() == tag.trim_matches('"'))
                    }
                    (None, None) => true,
                };
                if !is_wanted {
                    let error = b"<Error><Code>PreconditionFailed</Code></Error>".to_vec();
                    return (412, String::new(), error);
                }
                let version = objects.put(&name, body);
                (200, format!("ETag: \"{version}\"\r\n"), Vec::new())
            }
            "POST" => {
                let mut xml = String::from("<DeleteResult>");
                for key in keys(&body) {
                    objects.all.remove(&key);
                    let _ = write!(xml, "<Deleted><Key>{key}</Key></Deleted>");
                }
                (200, String::new(), (xml + "</DeleteResult>").into_bytes())
            }
            "DELETE" => {
                objects.all.remove(&name);
                (204, String::new(), Vec::new())
            }
            _ => (405, String::new(), Vec::new()),
        }
    }
}
