//! Network addresses from their binary form to PostgreSQL's own text.

use super::{exactly, malformed, split};
use sqlx::error::BoxDynError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `inet`: a host, with the bits of its network if these are not all of them.
pub(super) fn address(bytes: &[u8]) -> Result<String, BoxDynError> {
    let (address, bits, width) = read(bytes)?;
    Ok(if bits == width { address.to_string() } else { format!("{address}/{bits}") })
}

/// `cidr`: a network, always with its bits.
pub(super) fn network(bytes: &[u8]) -> Result<String, BoxDynError> {
    let (address, bits, _) = read(bytes)?;
    Ok(format!("{address}/{bits}"))
}

/// `macaddr` and `macaddr8`.
pub(super) fn hardware(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// Family, bits, whether it is a network, length, address; with the bits that an address of its
/// family has.
fn read(bytes: &[u8]) -> Result<(IpAddr, u8, u8), BoxDynError> {
    let ([family, bits, _, _], address) = split::<4>(bytes)?;
    match family {
        2 => Ok((Ipv4Addr::from(exactly::<4>(address)?).into(), bits, 32)),
        3 => Ok((Ipv6Addr::from(exactly::<16>(address)?).into(), bits, 128)),
        _ => Err(malformed()),
    }
}
