//! Who is asking, and whether they may.
//!
//! Three checks, in this order: the `Host` is one of ours (a page elsewhere whose name was rebound to this address
//! is refused); what changes something and comes from a browser carries our own `Origin`; the caller has the role the
//! route needs. On loopback no key is needed as long as `trust_loopback` is on and no proxy has left its mark.

use super::head::Head;
use super::problem::{Problem, problem, shown};
use super::server::Shared;
use crate::clock::Wall;
use crate::config::{Access, Http};
use crate::keys::{KeyInfo, Keys};
use crate::limits;
use crate::model::Role;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tiny_http::Method;

/// The name of the login cookie.
pub(crate) const COOKIE: &str = "telltale";

/// How the caller is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Not at all.
    Nothing,
    /// By being on this host.
    Loopback,
    Key(KeyInfo),
    Cookie(KeyInfo),
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// None: may not even look.
    pub role: Option<Role>,
    pub by: By,
}

impl Caller {
    /// A name for `by` in commands, where there is one.
    pub fn name(&self) -> Option<&str> {
        match &self.by {
            By::Key(key) | By::Cookie(key) => Some(&key.name),
            By::Nothing | By::Loopback => None,
        }
    }
}

/// The names and origins that are let in.
#[derive(Debug)]
pub(crate) struct Doors {
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Doors {
    pub fn new(http: &Http) -> Doors {
        let own = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
        let mut hosts = vec!["localhost".to_string()];
        if !own.is_empty() && own != "(none)" {
            let short = own.split('.').next().unwrap_or(&own).to_string();
            hosts.extend([format!("{short}.local"), short, own]);
        }
        hosts.extend(http.hosts.iter().map(|h| h.to_ascii_lowercase()));
        Doors {
            hosts,
            origins: http.origins.iter().map(|o| o.trim_end_matches('/').to_ascii_lowercase()).collect(),
        }
    }

    /// Whether `Host` names this server: an IP address, one of its names or a configured one, with any port.
    fn knows(&self, host: &str) -> bool {
        let Some(name) = name_of(host) else { return false };
        name.parse::<Ipv4Addr>().is_ok()
            || name.parse::<Ipv6Addr>().is_ok()
            || self.hosts.iter().any(|h| h.eq_ignore_ascii_case(name.trim_end_matches('.')))
    }

    /// Whether the `Origin` is that of our own page, as the browser reached it.
    fn is_own(origin: &str, host: Option<&str>) -> bool {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        matches!((authority, host), (Some(a), Some(h)) if a.eq_ignore_ascii_case(h))
    }

    /// The configured origin that a request comes from, for CORS.
    pub fn friend<'h>(&self, head: &'h Head) -> Option<&'h str> {
        let origin = head.header("origin")?;
        self.origins.iter().any(|o| o.eq_ignore_ascii_case(origin)).then_some(origin)
    }

    /// The first two checks.
    pub fn check(&self, head: &Head, caller: &Caller) -> Result<(), Problem> {
        if let Some(host) = &head.host
            && !self.knows(host)
        {
            return Err(problem(
                421,
                "unknown_host",
                "Misdirected request",
                format!(
                    "the Host is {:?}; expected an IP address, localhost, this host's name or one listed as hosts in [http]",
                    shown(host)
                ),
            ));
        }
        if matches!(head.method, Method::Get | Method::Head | Method::Options) {
            return Ok(());
        }
        let foreign = |detail: String| Err(problem(403, "foreign_origin", "Foreign origin", detail));
        match head.header("origin") {
            Some(origin) if Doors::is_own(origin, head.host.as_deref()) || self.friend(head).is_some() => {
                Ok(())
            }
            Some(origin) => foreign(format!(
                "the request comes from a page of {:?}; expected our own or one listed as origins in [http]",
                shown(origin)
            )),
            None if head
                .header("sec-fetch-site")
                .is_some_and(|site| !matches!(site, "same-origin" | "none")) =>
            {
                foreign("the browser says the request comes from another site".into())
            }
            None if matches!(caller.by, By::Cookie(_)) => foreign(
                "a request with a cookie must carry an Origin; programs send Authorization: Bearer".into(),
            ),
            None => Ok(()),
        }
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address; none when it is not of that shape.
fn name_of(host: &str) -> Option<&str> {
    let is_port = |p: &str| p.is_empty() || p.parse::<u16>().is_ok();
    if let Some(rest) = host.strip_prefix('[') {
        let (name, port) = rest.split_once(']')?;
        return (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(name);
    }
    match host.split_once(':') {
        Some((name, port)) => (!name.is_empty() && is_port(port)).then_some(name),
        None => (!host.is_empty()).then_some(host),
    }
}

/// Finds out who asks.
///
/// # Errors
/// 401 when a key was sent that is none, also where none would have been needed.
pub(crate) fn identify(
    head: &Head,
    peer: SocketAddr,
    access: &Access,
    keys: &Keys,
) -> Result<Caller, Problem> {
    if let Some(sent) = head.header("authorization") {
        let token = sent
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, t)| t.trim());
        let key = token.and_then(|token| keys.verify(token));
        return match key {
            Some(key) => Ok(Caller { role: Some(key.role), by: By::Key(key) }),
            None => Err(unauthorised(
                "the key in Authorization is not known; expected `Bearer tt_...` as shown by `telltale key make`",
            )),
        };
    }
    let proxied =
        ["forwarded", "x-forwarded-for", "x-real-ip"].iter().any(|name| head.header(name).is_some());
    let loopback = access.trust_loopback && peer.ip().to_canonical().is_loopback() && !proxied;
    let cookie = head
        .headers
        .iter()
        .filter(|(name, _)| name == "cookie")
        .flat_map(|(_, value)| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .and_then(|(_, value)| keys.by_cookie(value, Wall::now().0 / 1000));
    let open = access.open_view.then_some(Role::View);
    Ok(match cookie {
        // On loopback a cookie takes nothing away.
        Some(key) => {
            let role = if loopback { Role::Admin } else { key.role };
            Caller { role: Some(role), by: By::Cookie(key) }
        }
        None if loopback => Caller { role: Some(Role::Admin), by: By::Loopback },
        None => Caller { role: open, by: By::Nothing },
    })
}

/// The third check.
pub(crate) fn allow(caller: &Caller, needed: Role) -> Result<(), Problem> {
    match caller.role {
        Some(role) if role >= needed => Ok(()),
        Some(role) if caller.by != By::Nothing => Err(problem(
            403,
            "forbidden",
            "Forbidden",
            format!("this needs the role {}; the key has the role {}", needed.as_str(), role.as_str()),
        )
        .with("needed", needed.as_str())),
        _ => Err(unauthorised(&format!(
            "this needs the role {}; send a key as Authorization: Bearer, or log in at /api/login",
            needed.as_str()
        ))
        .with("needed", needed.as_str())),
    }
}

fn unauthorised(detail: &str) -> Problem {
    problem(401, "unauthorised", "Unauthorised", detail)
        .header("WWW-Authenticate", "Bearer realm=\"telltale\"")
}

/// The three checks in order; gives who asks.
pub(crate) fn admit(
    shared: &Shared,
    head: &Head,
    peer: SocketAddr,
    needed: Option<Role>,
) -> Result<Caller, Problem> {
    let access = shared.access.read().unwrap_or_else(|e| e.into_inner()).clone();
    let caller = identify(head, peer, &access, &shared.parts.keys)?;
    shared.doors.check(head, &caller)?;
    match needed {
        Some(needed) => allow(&caller, needed).map(|()| caller),
        None => Ok(caller),
    }
}

/// Failed logins by address, forgotten after a minute.
#[derive(Debug, Default)]
pub(crate) struct Logins(Mutex<Failures>);

#[derive(Debug, Default)]
struct Failures {
    by: HashMap<IpAddr, (u32, Instant)>,
    order: VecDeque<IpAddr>,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Logins {
    /// Whether this address may try; else how many seconds it has to wait.
    pub fn may_try(&self, address: IpAddr) -> Result<(), u64> {
        let failures = self.0.lock().unwrap_or_else(|e| e.into_inner());
        match failures.by.get(&super::listener::group(address)) {
            Some((count, first)) if *count >= limits::LOGIN_TRIES && first.elapsed() < MINUTE => {
                Err((MINUTE.saturating_sub(first.elapsed())).as_secs() + 1)
            }
            _ => Ok(()),
        }
    }

    pub fn failed(&self, address: IpAddr) {
        let address = super::listener::group(address);
        let mut failures = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let Failures { by, order } = &mut *failures;
        if let Some((count, first)) = by.get_mut(&address) {
            if first.elapsed() >= MINUTE {
                (*count, *first) = (0, Instant::now());
            }
            *count += 1;
            return;
        }
        by.insert(address, (1, Instant::now()));
        order.push_back(address);
        if order.len() > limits::LOGIN_ADDRESSES
            && let Some(oldest) = order.pop_front()
        {
            by.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{Parsed, parse};

    fn head(text: &str) -> Head {
        match parse(text.as_bytes()).unwrap() {
            Parsed::Whole(head, _) => *head,
            Parsed::Partial => panic!("partial"),
        }
    }

    fn doors() -> Doors {
        Doors {
            hosts: vec!["localhost".into(), "pi".into(), "pi.local".into()],
            origins: vec!["https://board.example".into()],
        }
    }

    fn nobody() -> Caller {
        Caller { role: Some(Role::View), by: By::Nothing }
    }

    #[test]
    fn only_our_own_names_are_hosts() {
        for good in [
            "127.0.0.1",
            "10.1.2.3:8080",
            "[::1]:80",
            "[fe80::1]",
            "localhost:1",
            "PI.local",
            "pi.local.:80",
            "pi:",
        ] {
            assert!(doors().knows(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "pi.local.evil.example",
            "localhost@evil",
            "10.1.2.3.evil",
            "[::1]x",
            "[::1",
            ":80",
            "pi:99999",
            "pi:80:80",
        ] {
            assert!(!doors().knows(bad), "{bad}");
        }
    }

    #[test]
    fn browsers_may_change_things_only_from_our_own_page() {
        let key = KeyInfo { id: "k".into(), name: "n".into(), role: Role::Admin, made: Wall(0) };
        let cookie = Caller { role: Some(Role::Admin), by: By::Cookie(key) };
        let ask = |method: &str, host: &str, headers: &str, caller: &Caller| {
            let head = head(&format!("{method} / HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n"));
            doors().check(&head, caller).map_err(|p| p.status)
        };
        assert_eq!(ask("POST", "pi", "", &nobody()), Ok(()), "a program");
        assert_eq!(ask("POST", "pi:80", "Origin: http://pi:80\r\n", &cookie), Ok(()));
        assert_eq!(ask("POST", "pi", "Origin: https://board.example\r\n", &nobody()), Ok(()));
        assert_eq!(ask("POST", "pi", "Origin: http://evil\r\n", &nobody()), Err(403));
        assert_eq!(ask("POST", "pi", "Origin: null\r\n", &nobody()), Err(403));
        assert_eq!(ask("POST", "pi:80", "Origin: http://pi:81\r\n", &cookie), Err(403));
        assert_eq!(ask("POST", "pi", "", &cookie), Err(403));
        assert_eq!(ask("POST", "pi", "Sec-Fetch-Site: cross-site\r\n", &nobody()), Err(403));
        assert_eq!(ask("GET", "pi", "Origin: http://evil\r\n", &cookie), Ok(()), "reading is CORS's affair");
        assert_eq!(ask("GET", "evil", "", &nobody()), Err(421));
    }

    #[test]
    fn who_asks_is_known_by_key_cookie_or_place() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path()).unwrap();
        let (_, token) = keys.make("n", Role::Operate).unwrap();
        let cookie = keys.cookie(&keys.verify(&token).unwrap(), u64::MAX);
        let ask = |headers: &str, peer: &str, access: &Access| {
            let head = head(&format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n"));
            identify(&head, peer.parse().unwrap(), access, &keys).map(|c| c.role).map_err(|p| p.status)
        };
        let open = Access { open_view: true, trust_loopback: true };
        let shut = Access { open_view: false, trust_loopback: false };
        let (here, there) = ("127.0.0.1:1", "10.0.0.1:1");
        assert_eq!(ask("", here, &open), Ok(Some(Role::Admin)));
        assert_eq!(ask("", "[::ffff:127.0.0.1]:1", &open), Ok(Some(Role::Admin)));
        assert_eq!(
            ask("X-Forwarded-For: 10.0.0.1\r\n", here, &open),
            Ok(Some(Role::View)),
            "through a proxy"
        );
        assert_eq!(ask("", there, &open), Ok(Some(Role::View)));
        assert_eq!(ask("", there, &shut), Ok(None));
        assert_eq!(ask("", here, &shut), Ok(None));
        assert_eq!(ask(&format!("Authorization: Bearer {token}\r\n"), there, &shut), Ok(Some(Role::Operate)));
        assert_eq!(ask("Authorization: Bearer tt_wrong\r\n", here, &open), Err(401));
        assert_eq!(ask("Authorization: Basic eDp5\r\n", here, &open), Err(401));
        assert_eq!(
            ask(&format!("Cookie: a=b; telltale={cookie}\r\n"), there, &shut),
            Ok(Some(Role::Operate))
        );
        assert_eq!(ask("Cookie: telltale=forged.1.2\r\n", there, &shut), Ok(None));
        assert_eq!(allow(&nobody(), Role::Operate).unwrap_err().status, 401);
    }

    #[test]
    fn failed_logins_are_slowed_and_the_table_is_bounded() {
        let logins = Logins::default();
        let address = |n: u32| IpAddr::V4(Ipv4Addr::from(n));
        for _ in 0..limits::LOGIN_TRIES {
            assert_eq!(logins.may_try(address(1)), Ok(()));
            logins.failed(address(1));
        }
        assert!(logins.may_try(address(1)).is_err());
        assert_eq!(logins.may_try(address(2)), Ok(()));
        for n in 0..5_000 {
            logins.failed(address(n));
        }
        assert!(logins.0.lock().unwrap().by.len() <= limits::LOGIN_ADDRESSES);
    }
}
