//! Converts network addresses from PostgreSQL's binary form to its text form.

use super::{exactly, malformed, split};
use sqlx::error::BoxDynError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Formats an `inet`: a host address, and the prefix length if it is not the full length.
pub(super) fn address(bytes: &[u8]) -> Result<String, BoxDynError> {
    let (address, bits, width) = read(bytes)?;
    Ok(if bits == width { address.to_string() } else { format!("{address}/{bits}") })
}

/// Formats a `cidr`: a network address, always with the prefix length.
pub(super) fn network(bytes: &[u8]) -> Result<String, BoxDynError> {
    let (address, bits, _) = read(bytes)?;
    Ok(format!("{address}/{bits}"))
}

/// Formats a `macaddr` or `macaddr8`.
pub(super) fn hardware(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// Reads the family, prefix length, network flag, byte length and address. Returns the address, the
/// prefix length and the full length of its family.
fn read(bytes: &[u8]) -> Result<(IpAddr, u8, u8), BoxDynError> {
    let ([family, bits, _, _], address) = split::<4>(bytes)?;
    match family {
        2 => Ok((Ipv4Addr::from(exactly::<4>(address)?).into(), bits, 32)),
        3 => Ok((Ipv6Addr::from(exactly::<16>(address)?).into(), bits, 128)),
        _ => Err(malformed()),
    }
}
