//! Which addresses may be reached where people name the host: not those inside one's own network.
//!
//! The address is checked where the connection is made, so that a name that leads elsewhere the
//! second time gains nothing.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    str::FromStr,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

/// A range of addresses, such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    const fn v4(octets: [u8; 4], bits: u8) -> Self {
        let [a, b, c, d] = octets;
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits }
    }

    const fn v6(segments: [u16; 8], bits: u8) -> Self {
        let [a, b, c, d, e, f, g, h] = segments;
        Self { address: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), bits }
    }

    /// Whether an address lies in it. An IPv4 address in the form of IPv6 is the IPv4 address.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        let prefix = |bits: u128, width: u32| {
            let tail = width - u32::from(self.bits);
            bits.checked_shr(tail).unwrap_or(0)
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                prefix(own.to_bits().into(), 32) == prefix(other.to_bits().into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                prefix(own.to_bits(), 128) == prefix(other.to_bits(), 128)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is not a range of addresses: write it as `10.0.0.0/8` or `fd00::/8`")
        };
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = bits.parse().ok().filter(|bits| *bits <= width).ok_or_else(wrong)?;
        Ok(Self { address, bits })
    }
}

/// What is not on the open internet: IANA's registries of special addresses, and what leads to IPv4
/// addresses by way of IPv6.
const SPECIAL: [Network; 28] = [
    Network::v4([0, 0, 0, 0], 8),
    Network::v4([10, 0, 0, 0], 8),
    Network::v4([100, 64, 0, 0], 10),
    Network::v4([127, 0, 0, 0], 8),
    Network::v4([169, 254, 0, 0], 16),
    Network::v4([172, 16, 0, 0], 12),
    Network::v4([192, 0, 0, 0], 24),
    Network::v4([192, 0, 2, 0], 24),
    Network::v4([192, 88, 99, 0], 24),
    Network::v4([192, 168, 0, 0], 16),
    Network::v4([198, 18, 0, 0], 15),
    Network::v4([198, 51, 100, 0], 24),
    Network::v4([203, 0, 113, 0], 24),
    Network::v4([224, 0, 0, 0], 4),
    Network::v4([240, 0, 0, 0], 4),
    // Unspecified, loopback and addresses that carry an IPv4 one.
    Network::v6([0, 0, 0, 0, 0, 0, 0, 0], 96),
    Network::v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96),
    Network::v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96),
    Network::v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
    Network::v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64),
    Network::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    Network::v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    Network::v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    Network::v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
    Network::v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16),
    Network::v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    Network::v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 9),
    Network::v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
];

/// Says which addresses may be reached: those of the open internet, and those that the operator
/// allows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guard {
    allowed: Vec<Network>,
}

impl Guard {
    /// One that lets through what lies in these networks beside the open internet.
    #[must_use]
    pub fn allowing(allowed: Vec<Network>) -> Self {
        Self { allowed }
    }

    /// Whether an address may be reached.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        let lies_in = |networks: &[Network]| networks.iter().any(|net| net.contains(address));
        lies_in(&self.allowed) || !lies_in(&SPECIAL)
    }

    /// Those addresses of a name that may be reached.
    ///
    /// # Errors
    /// Where there are none: the first that may not.
    fn sift(&self, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Forbidden> {
        let first = found.first().map(SocketAddr::ip);
        let good: Vec<SocketAddr> =
            found.into_iter().filter(|addr| self.permits(addr.ip())).collect();
        match first {
            Some(address) if good.is_empty() => Err(Forbidden { address }),
            _ => Ok(good),
        }
    }
}

/// That an address may not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is not on the open internet")]
pub struct Forbidden {
    /// Which.
    pub address: IpAddr,
}

/// Finds the addresses of a host that may be reached; all of them without a guard.
///
/// # Errors
/// Where it has none.
pub async fn resolve(
    guard: Option<&Guard>,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    match guard {
        None => Ok(found),
        Some(guard) => Ok(guard.sift(found)?),
    }
}

/// Finds addresses for the HTTP client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resolver(pub(crate) Option<Arc<Guard>>);

type Resolving = Pin<
    Box<
        dyn Future<
                Output = Result<
                    vec::IntoIter<SocketAddr>,
                    Box<dyn std::error::Error + Send + Sync>,
                >,
            > + Send,
    >,
>;

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Resolving;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Resolving {
        let guard = self.0.clone();
        Box::pin(async move { Ok(resolve(guard.as_deref(), name.as_str(), 0).await?.into_iter()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_open_internet_is_let_through() {
        let guard = Guard::default();
        for inside in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:a9fe:a9fe",
            "::ffff:0:7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!guard.permits(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "128.0.0.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "64:ff9c::1",
            "2003::1",
        ] {
            assert!(guard.permits(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn the_operator_may_let_through_more() {
        let guard =
            Guard::allowing(vec!["10.1.0.0/16".parse().unwrap(), "::1/128".parse().unwrap()]);
        for (address, permitted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("::1", true),
            ("10.2.0.0", false),
            ("127.0.0.1", false),
            ("::2", false),
            ("8.8.8.8", true),
        ] {
            assert_eq!(guard.permits(address.parse().unwrap()), permitted, "{address}");
        }
    }

    #[test]
    fn a_network_is_read_as_it_is_written() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "fd00::/8", "192.168.1.7/32"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        for text in ["10.0.0.0", "10.0.0.0/33", "fd00::/129", "host/8", "10.0.0.0/-1", ""] {
            assert!(text.parse::<Network>().unwrap_err().contains("10.0.0.0/8"), "{text}");
        }
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("127.0.0.1".parse().unwrap()));
    }
}
