//! Requests to a hub: redirects counted, secrets sent to the hub alone and shown to nobody.

use std::time::Duration;

use ureq::{Agent, Body, http::Response};

use super::{Environment, Failure};

/// Redirects of one request that are followed. The public hub uses one or two.
const MOST_REDIRECTS: usize = 10;

/// A client of a hub: the address and the user's token.
pub(super) struct Web {
    agent: Agent,
    home: Address,
    token: Option<String>,
}

/// The terms of one request.
#[derive(Default)]
pub(super) struct Request {
    /// The name of what is fetched, for messages.
    pub(super) what: String,
    /// The byte at which the body should begin, if it is a file's.
    pub(super) from: Option<u64>,
    /// The time that all of it may take, redirects included.
    pub(super) deadline: Option<Duration>,
}

impl Web {
    /// For the hub at the environment's endpoint.
    pub(super) fn new(environment: &Environment) -> Result<Self, Failure> {
        let home = Address::parse(&environment.endpoint)
            .ok_or_else(|| Failure::Endpoint { endpoint: environment.address() })?;
        let agent = Agent::config_builder()
            // Followed here: nothing of a request may go where it is not meant for.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            // A file is resumed at its own bytes.
            .accept_encoding("identity")
            .user_agent(concat!("strait/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(environment.patience))
            .timeout_connect(Some(environment.patience))
            .timeout_recv_response(Some(environment.patience))
            .timeout_per_read(Some(environment.patience))
            .build()
            .into();
        Ok(Self { agent, home, token: environment.token.clone() })
    }

    /// The answer to a request for a path below the endpoint, after all redirects. `broken` is what a connection that fails
    /// comes to.
    pub(super) fn get(
        &self,
        path: &str,
        request: &Request,
        broken: impl Fn(ureq::Error) -> Failure,
    ) -> Result<Answer, Failure> {
        let mut url = self.home.below(path);
        let mut seen = Vec::new();
        loop {
            let mut get = self.agent.get(url.text(self.is_home(&url)));
            if let Some(token) = self.token.as_ref().filter(|_| self.is_home(&url)) {
                get = get.header("authorization", format!("Bearer {token}"));
            }
            if let Some(from) = request.from {
                get = get.header("range", format!("bytes={from}-"));
            }
            let response = get.config().timeout_global(request.deadline).build().call().map_err(&broken)?;
            let of_home = self.is_home(&url);
            let Some(location) = redirect(&response) else {
                return Ok(Answer { response, redirected: seen });
            };
            let refused =
                |why: String| Failure::Redirect { what: request.what.clone(), from: url.shown(), why };
            let location = location.map_err(|()| refused("with a location that is no text".into()))?;
            let next = url.follow(&location).ok_or_else(|| refused("to what is no web address".into()))?;
            if url.secure && !next.secure {
                return Err(refused("to an address without encryption".into()));
            }
            if next == url || seen.iter().any(|(known, _): &(Address, _)| *known == next) {
                return Err(refused("in a circle".into()));
            }
            if seen.len() == MOST_REDIRECTS {
                return Err(refused(format!("once more after {MOST_REDIRECTS} redirects")));
            }
            let stated = if of_home { FileInfo::of(&response) } else { FileInfo::default() };
            seen.push((std::mem::replace(&mut url, next), stated));
        }
    }

    /// True if an address is the hub's own: its secrets go there and nowhere else.
    fn is_home(&self, url: &Address) -> bool {
        (url.secure, &url.host) == (self.home.secure, &self.home.host)
    }
}

/// The address to which a redirect leads; `None` of another answer.
fn redirect(response: &Response<Body>) -> Option<Result<String, ()>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get("location")?;
    Some(location.to_str().map(str::to_string).map_err(|_| ()))
}

/// An answer that is no redirect.
pub(super) struct Answer {
    pub(super) response: Response<Body>,
    /// The addresses before, and the hub's statements there.
    redirected: Vec<(Address, FileInfo)>,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The file's size and hash by the hub's answers.
    pub(super) fn stated(&self) -> FileInfo {
        let mut all = self.redirected.iter().map(|(_, stated)| stated.clone());
        let first = all.next();
        let last = FileInfo::of(&self.response);
        // Of a file that lies elsewhere the hub's word counts; the other host knows other names for it.
        match first {
            Some(first) => {
                let hash = first.hash.or_else(|| all.find_map(|stated| stated.hash));
                FileInfo { hash, size: first.size }
            }
            None => FileInfo { hash: last.hash, size: last.size },
        }
    }

    /// First byte and whole length of a part of a file.
    pub(super) fn range(&self) -> Option<(u64, u64)> {
        let range = self.header("content-range")?.trim().strip_prefix("bytes ")?;
        let (span, whole) = range.split_once('/')?;
        Some((span.split_once('-')?.0.parse().ok()?, whole.parse().ok()?))
    }
}

/// A file's size and hash by an answer's head.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct FileInfo {
    /// SHA-256 of a large file, git's SHA-1 of a small one; in lower case.
    pub(super) hash: Option<String>,
    pub(super) size: Option<u64>,
}

impl FileInfo {
    fn of(response: &Response<Body>) -> Self {
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let hash = header("x-linked-etag").or_else(|| header("etag")).and_then(hash);
        Self { hash, size: header("x-linked-size").and_then(|size| size.trim().parse().ok()) }
    }
}

/// A hash as tags of entities hold it, quoted; anything else in a tag says nothing here.
pub(super) fn hash(text: &str) -> Option<String> {
    let text = text.trim().trim_matches('"');
    let is_hash = matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_hash.then(|| text.to_ascii_lowercase())
}

/// An address on the web.
#[derive(Clone, Debug, PartialEq)]
struct Address {
    /// True if it is `https`.
    secure: bool,
    /// Name and password with their `@`, or nothing.
    credentials: String,
    /// Host and port, in lower case, the port written out.
    host: String,
    /// From the slash on, with the query.
    path: String,
}

impl Address {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (credentials, host) = authority.rsplit_once('@').map_or(("", authority), |(c, host)| (c, host));
        let host = host.to_ascii_lowercase();
        let plain = |c: char| c.is_ascii_graphic() && !"\\\"<>@".contains(c);
        if host.is_empty() || !host.chars().all(plain) || !path.chars().all(|c| c.is_ascii_graphic()) {
            return None;
        }
        let port = host.rsplit_once(':').map_or("", |(_, port)| port);
        if !port.contains(']') && port.parse::<u16>().is_err() && !port.is_empty() {
            return None;
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && !port.contains(']'));
        let host = if has_port {
            host
        } else {
            format!("{}:{}", host.trim_end_matches(':'), if secure { 443 } else { 80 })
        };
        let credentials = if credentials.is_empty() { String::new() } else { format!("{credentials}@") };
        let path = if path.starts_with('/') { path.into() } else { format!("/{path}") };
        Some(Self { secure, credentials, host, path })
    }

    /// An address below this one.
    fn below(&self, path: &str) -> Self {
        Self { path: format!("{}/{path}", self.path.trim_end_matches('/')), ..self.clone() }
    }

    /// The address to which a redirect from here leads.
    fn follow(&self, location: &str) -> Option<Self> {
        let location = location.trim();
        let here = Self { credentials: String::new(), ..self.clone() };
        let scheme = if self.secure { "https" } else { "http" };
        let next = if location.split(['/', '?', '#']).next().is_some_and(|start| start.contains(':')) {
            Self::parse(location)?
        } else if let Some(rest) = location.strip_prefix("//") {
            Self::parse(&format!("{scheme}://{rest}"))?
        } else if location.starts_with('/') {
            Self::parse(&format!("{scheme}://{}{location}", here.host))?
        } else {
            let path = here.path.split('?').next().unwrap_or_default();
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            Self::parse(&format!("{scheme}://{}{folder}/{location}", here.host))?
        };
        // Only the user's own words may hold a password.
        Some(Self {
            credentials: if next.host == self.host { self.credentials.clone() } else { String::new() },
            ..next
        })
    }

    fn text(&self, with_credentials: bool) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        let credentials = if with_credentials { &self.credentials } else { "" };
        format!("{scheme}://{credentials}{}{}", self.host, self.path)
    }

    /// For messages: without password, and without the query, in which signatures stand.
    fn shown(&self) -> String {
        self.text(false).split('?').next().unwrap_or_default().into()
    }
}

/// Signs at which an address's host ends, in URLs and in sentences.
const ENDS: &str = "/?#'\"`<>,)";

/// Text of others with the passwords of addresses taken out.
pub(super) fn without_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || ENDS.contains(c)).unwrap_or(after.len());
        let (mut authority, mut behind) = after.split_at(end);
        // A password may hold a sign at which an address would end.
        let word = behind.find(char::is_whitespace).map_or(behind, |end| &behind[..end]);
        if let Some(at) = word.rfind('@').filter(|_| authority.contains(':') && !authority.contains('@')) {
            (authority, behind) = after.split_at(end + at + 1);
            let host = behind.find(|c: char| c.is_whitespace() || ENDS.contains(c)).unwrap_or(behind.len());
            (authority, behind) = (&after[..authority.len() + host], &behind[host..]);
        }
        match authority.rsplit_once('@') {
            Some((_, host)) => shown.push_str(&format!("***@{host}")),
            None => shown.push_str(authority),
        }
        rest = behind;
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn redirects_lead_where_browsers_go() {
        let here = address("https://hub.example/org/x/resolve/main/f?a=1");
        for (location, expected) in [
            ("https://cdn.example/f?sig=1", "https://cdn.example:443/f?sig=1"),
            ("HTTPS://CDN.example:8443", "https://cdn.example:8443/"),
            ("http://hub.example/f#part", "http://hub.example:80/f"),
            ("//cdn.example/f", "https://cdn.example:443/f"),
            ("/f", "https://hub.example:443/f"),
            ("g", "https://hub.example:443/org/x/resolve/main/g"),
            ("https://[::1]/f", "https://[::1]:443/f"),
            ("https://user:word@evil.example/f", "https://evil.example:443/f"),
        ] {
            assert_eq!(here.follow(location).unwrap().text(true), expected, "{location}");
        }
        for location in
            ["file:///etc/passwd", "ftp://x/f", "gopher:x", "https://", "https:///f", "javascript:x"]
        {
            assert_eq!(here.follow(location), None, "{location}");
        }
    }

    #[test]
    fn secrets_stay_with_the_host_that_they_are_for() {
        let home = address("https://me:word@hub.example/mirror/");
        assert_eq!(home.below("a/b").text(true), "https://me:word@hub.example:443/mirror/a/b");
        assert_eq!(home.below("a/b").shown(), "https://hub.example:443/mirror/a/b");
        assert_eq!(home.follow("/other").unwrap().text(true), "https://me:word@hub.example:443/other");
        for elsewhere in ["https://hub.example:444/f", "https://hub.example.evil/f", "https://cdn.example/f"]
        {
            assert!(!home.follow(elsewhere).unwrap().text(true).contains("word"), "{elsewhere}");
        }
    }

    #[test]
    fn tags_that_are_hashes() {
        let sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
        let sha1 = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
        for text in [format!("\"{sha256}\""), sha256.to_uppercase(), format!(" \"{sha256}\" ")] {
            assert_eq!(hash(&text).as_deref(), Some(sha256));
        }
        assert_eq!(hash(sha1).as_deref(), Some(sha1));
        for text in [
            "",
            "\"../../victim\"",
            ".",
            "..",
            "W/\"abc\"",
            "d41d8cd98f00b204e9800998ecf8427e",
            &format!("{sha1}/"),
        ] {
            assert_eq!(hash(text), None, "{text}");
        }
    }

    #[test]
    fn passwords_are_taken_out_of_any_text() {
        for (text, shown) in [
            ("https://me:word@hub.example/x", "https://***@hub.example/x"),
            (
                "cannot connect to http://u:p@proxy:3128: refused",
                "cannot connect to http://***@proxy:3128: refused",
            ),
            ("http://hub.example/a@b and more@x", "http://hub.example/a@b and more@x"),
            ("`https://me:a/b#c@hub.example`", "`https://***@hub.example`"),
            ("two http://a:b@c http://d:e@f", "two http://***@c http://***@f"),
            ("http://h:80 me@x http://é:1é/é@b", "http://h:80 me@x http://***@b"),
            ("no address", "no address"),
            ("http://127.0.0.1:80/x", "http://127.0.0.1:80/x"),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }
}
