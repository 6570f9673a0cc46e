//! Decides which network addresses a stranger's link may lead to.
//!
//! What counts is the address a connection is opened to, never the text of a link: `127.1`, `0x7f.1` and a name that
//! resolves to `127.0.0.1` are all the same door into our own house.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// Says no to every address that is not public, unless the settings allow it.
#[derive(Debug, Clone)]
pub struct Guard {
    allow: Vec<IpNet>,
    reach: Reach,
}

/// How far a guard lets connections go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// To what is public, and to what is allowed.
    Public,
    /// To what is allowed, and no further.
    Allowed,
}

/// Where no connection may lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forbidden {
    /// An address that is not public.
    Address {
        /// The host as the link names it.
        host: String,
        /// Where it leads.
        address: IpAddr,
        /// What kind of address that is, in words: `a private address`.
        kind: &'static str,
    },
    /// A port of this host that is not open to fetching.
    Port {
        /// The host as the link names it.
        host: String,
    },
}

impl Guard {
    /// Makes a guard that lets the networks in `allow` pass although they are not public.
    pub fn new(allow: Vec<IpNet>) -> Self {
        Self { allow, reach: Reach::Public }
    }

    /// The guard of ports that are not open: it lets only the networks pass that are allowed by name, so `None` if
    /// there are none.
    pub fn of_closed_ports(&self) -> Option<Self> {
        (!self.allow.is_empty()).then(|| Self { allow: self.allow.clone(), reach: Reach::Allowed })
    }

    /// Whether an address is allowed by name, public or not.
    pub fn allows(&self, address: IpAddr) -> bool {
        self.allow.iter().any(|net| net.contains(&address))
    }

    /// Passes an address, or says why not.
    ///
    /// # Errors
    /// [`Forbidden`] if it is neither public nor allowed.
    pub fn vet(&self, host: &str, address: IpAddr) -> Result<(), Forbidden> {
        if self.allows(address) {
            return Ok(());
        }
        match (kind(address), self.reach) {
            (Some(kind), _) => Err(Forbidden::Address { host: host.to_owned(), address, kind }),
            (None, Reach::Allowed) => Err(Forbidden::Port { host: host.to_owned() }),
            (None, Reach::Public) => Ok(()),
        }
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { host, address, kind } if *host == address.to_string() => {
                write!(formatter, "{address} is {kind}")
            }
            Self::Address { host, address, kind } => write!(formatter, "{host} leads to {address}, {kind}"),
            Self::Port { host } => write!(formatter, "this port of {host} is closed to fetching"),
        }
    }
}

impl std::error::Error for Forbidden {}

/// The address that a link names by number, if it does; a name is vetted when it is resolved.
pub fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
        Host::Domain(_) => None,
    }
}

/// Whether a name means this machine, whatever a name server says about it (RFC 6761).
pub fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

/// What kind of address this is if it is not public, in words.
pub fn kind(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => V4.iter().find(|(net, _)| net.contains(&address)).map(|(_, kind)| *kind),
        IpAddr::V6(address) => {
            let known = V6.iter().find(|(net, _)| net.contains(&address)).map(|(_, kind)| *kind);
            // Only an eighth of the space has been given out for use across networks; the rest is nobody's.
            known.or_else(|| (!GLOBAL_UNICAST.contains(&address)).then_some("a reserved address"))
        }
    }
}

const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// The IANA registry of special-purpose IPv4 addresses, and one number that a cloud provider uses like one.
const V4: [(Ipv4Net, &str); 16] = [
    (v4([0, 0, 0, 0], 8), "an unspecified address"),
    (v4([10, 0, 0, 0], 8), "a private address"),
    (v4([100, 64, 0, 0], 10), "a provider's internal address"),
    (v4([127, 0, 0, 0], 8), "a loopback address"),
    (v4([168, 63, 129, 16], 32), "a cloud provider's internal service"),
    (v4([169, 254, 0, 0], 16), "a link-local address"),
    (v4([172, 16, 0, 0], 12), "a private address"),
    (v4([192, 0, 0, 0], 24), "a reserved address"),
    (v4([192, 0, 2, 0], 24), "a documentation address"),
    (v4([192, 88, 99, 0], 24), "a 6to4 address"),
    (v4([192, 168, 0, 0], 16), "a private address"),
    (v4([198, 18, 0, 0], 15), "a benchmarking address"),
    (v4([198, 51, 100, 0], 24), "a documentation address"),
    (v4([203, 0, 113, 0], 24), "a documentation address"),
    (v4([224, 0, 0, 0], 4), "a multicast address"),
    (v4([240, 0, 0, 0], 4), "a reserved address"),
];

/// What is not public in IPv6, with the ranges that carry an IPv4 address inside: those would lead around the table
/// above.
const V6: [(Ipv6Net, &str); 17] = [
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), "an unspecified address"),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "a loopback address"),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 96), "an IPv4-compatible address"),
    (v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), "an IPv4-mapped address"),
    (v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96), "an IPv4-translated address"),
    (v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96), "a NAT64 address"),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), "a NAT64 address"),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), "a discard address"),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), "a Teredo address"),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), "a reserved address"),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), "a documentation address"),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), "a 6to4 address"),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), "a documentation address"),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), "a private address"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "a link-local address"),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), "a private address"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "a multicast address"),
];

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(s: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: Option<&str>, addresses: &str) {
        for text in addresses.split_whitespace() {
            assert_eq!(kind(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn every_address_that_is_not_public_has_a_kind() {
        check(Some("a loopback address"), "127.0.0.1 127.255.255.254 ::1");
        check(Some("an unspecified address"), "0.0.0.0 0.1.2.3 ::");
        check(Some("a private address"), "10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1");
        check(Some("a private address"), "fc00::1 fd00:ec2::254 fdff::1 fec0::1");
        check(Some("a link-local address"), "169.254.169.254 fe80::1 febf::1");
        check(Some("a provider's internal address"), "100.64.0.1 100.127.255.255 100.100.100.200");
        check(Some("a cloud provider's internal service"), "168.63.129.16");
        check(Some("a reserved address"), "192.0.0.1 192.0.0.170 240.0.0.1 255.255.255.255");
        check(Some("a reserved address"), "2001:10::1 2001:20::1 2001:1ff::1 4000::1 5f00::1 e000::1 1::1");
        check(Some("a documentation address"), "192.0.2.1 198.51.100.1 203.0.113.1 2001:db8::1 3fff::1");
        check(Some("a benchmarking address"), "198.18.0.1 198.19.255.255");
        check(Some("a multicast address"), "224.0.0.1 239.255.255.255 ff02::1 ff0e::1");
        check(Some("an IPv4-mapped address"), "::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:a00:1");
        check(Some("an IPv4-compatible address"), "::127.0.0.1 ::8.8.8.8");
        check(Some("an IPv4-translated address"), "::ffff:0:127.0.0.1");
        check(Some("a NAT64 address"), "64:ff9b::7f00:1 64:ff9b:1::1 64:ff9b:1:ffff::1");
        check(Some("a 6to4 address"), "2002:7f00:1:: 2002:808:808::1 192.88.99.1");
        check(Some("a Teredo address"), "2001::1 2001:0:ffff::1");
        check(Some("a discard address"), "100::1");
    }

    #[test]
    fn a_public_address_has_no_kind() {
        check(None, "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 172.15.255.255 172.32.0.1");
        check(None, "192.0.1.1 192.167.255.255 192.169.0.1 198.17.255.255 198.20.0.1 223.255.255.255 168.63.129.17");
        check(None, "2001:200::1 2606:4700:4700::1111 2a00:1450::1 2003::1 3ffe::1");
    }

    #[test]
    fn however_a_number_is_spelled_it_is_vetted_as_the_address_it_means() {
        for host in ["127.0.0.1", "127.1", "0x7f.1", "017700000001", "2130706433", "0.0.0.0", "[::1]", "[::]"] {
            let url = Url::parse(&format!("http://{host}/")).unwrap();
            assert!(literal(&url).is_some_and(|address| kind(address).is_some()), "{host}");
        }
        assert!(Url::parse("http://[fe80::1%25eth0]/").is_err());
        assert_eq!(literal(&Url::parse("http://files.example/").unwrap()), None);
    }

    #[test]
    fn only_the_networks_that_are_allowed_are_exempt() {
        let guard = Guard::new(vec!["10.1.0.0/16".parse().unwrap(), "::1/128".parse().unwrap()]);
        let vet = |address: &str| guard.vet("intranet", address.parse().unwrap());
        assert_eq!(vet("10.1.2.3"), Ok(()));
        assert_eq!(vet("::1"), Ok(()));
        assert_eq!(vet("8.8.8.8"), Ok(()));
        assert_eq!(vet("10.2.0.1").unwrap_err().to_string(), "intranet leads to 10.2.0.1, a private address");
        let mapped = vet("::ffff:10.1.2.3").unwrap_err().to_string();
        assert!(mapped.ends_with("an IPv4-mapped address"), "{mapped}");
    }

    #[test]
    fn at_a_closed_port_only_what_is_allowed_by_name_passes() {
        assert!(Guard::new(Vec::new()).of_closed_ports().is_none());
        let guard = Guard::new(vec!["10.1.0.0/16".parse().unwrap()]).of_closed_ports().unwrap();
        let vet = |address: &str| guard.vet("db", address.parse().unwrap());
        assert_eq!(vet("10.1.2.3"), Ok(()));
        assert_eq!(vet("8.8.8.8"), Err(Forbidden::Port { host: "db".to_owned() }));
        assert!(matches!(vet("10.2.0.1"), Err(Forbidden::Address { .. })));
    }

    #[test]
    fn a_name_for_this_machine_is_known_in_every_spelling() {
        for host in ["localhost", "LOCALHOST", "localhost.", "foo.localhost"] {
            assert!(is_localhost(host), "{host}");
        }
        assert!(!is_localhost("localhost.example") && !is_localhost("notlocalhost"));
    }
}
