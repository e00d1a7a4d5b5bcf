//! Whether every port of a network is free, before anything of it starts.
//!
//! Without this a validator that finds its port taken ends by itself only after it has made its state, and whoever holds the port could
//! answer for it meanwhile.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use super::network::Network;
use crate::error::CliError;

/// Binds each port of `network` once and lets go of it.
///
/// # Errors
/// [`CliError::Usage`] with the first port that another process has; [`CliError::System`] when the system refuses one for another reason.
pub fn check_free(network: &Network) -> Result<(), CliError> {
    for (member, validator) in network.members.iter().zip(&network.genesis.validators) {
        let name = &member.name;
        // A name instead of an address is a network that a person changed by hand: its validator says what is wrong with it.
        if let Ok(links) = validator.address.parse() {
            check_udp(name, "links", links)?;
        }
        check_udp(name, "transactions", member.transactions)?;
        check_tcp(name, "HTTP", member.http)?;
    }
    Ok(())
}

/// The UDP port `address` is free for `name`'s `what`.
///
/// # Errors
/// As [`check_free`].
pub fn check_udp(name: &str, what: &str, address: SocketAddr) -> Result<(), CliError> {
    check(name, what, "UDP", address, UdpSocket::bind(address))
}

/// The TCP port `address` is free for `name`'s `what`.
///
/// # Errors
/// As [`check_free`].
pub fn check_tcp(name: &str, what: &str, address: SocketAddr) -> Result<(), CliError> {
    check(name, what, "TCP", address, TcpListener::bind(address))
}

fn check<T>(
    name: &str,
    what: &str,
    kind: &str,
    address: SocketAddr,
    bound: std::io::Result<T>,
) -> Result<(), CliError> {
    match bound {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(CliError::Usage(format!(
            "{kind} {address}, for {name}'s {what}, is in use: another network or program runs there; stop it first, or take other \
             ports (a new devnet: --base-port and --data; a new network of `tana start`: --port-offset and --home)"
        ))),
        Err(source) => Err(CliError::System { action: "open a port", source }),
    }
}
