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
        if let Ok(links) = validator.address.parse::<SocketAddr>() {
            check(name, "links", "UDP", links, UdpSocket::bind(links))?;
        }
        check(name, "transactions", "UDP", member.transactions, UdpSocket::bind(member.transactions))?;
        check(name, "HTTP", "TCP", member.http, TcpListener::bind(member.http))?;
    }
    Ok(())
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
            "{kind} {address}, for {name}'s {what}, is in use: another network or program runs there; stop it, or give a new network other ports \
             with --base-port and another folder with --data"
        ))),
        Err(source) => Err(CliError::System { action: "open a port", source }),
    }
}
