//! Machines on one machine: a network namespace for each, connected by a [`Switch`].
//!
//! 1. For every machine a namespace `tana-chaos-PROCESS-NUMBER` is made, and a TUN device that is moved into it; the program keeps the
//!    device's file, gives the file to the switch, and a device of its own to the namespace that it runs in.
//! 2. Machine i has 10.213.x.(10 + i), the program 10.213.x.1, where x is the first that no interface of this machine uses.
//! 3. A program is run inside by `ip netns exec`, which becomes that program: its process id is the child's.
//!
//! Dropping the lab removes everything. A lab whose program was killed leaves namespaces behind; the next lab removes those whose process is
//! gone. Needs root and the `ip` command.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::remains;
use super::switch::{PLACES_MAX, Switch};
use super::tun::Tun;

/// What the namespaces' names begin with.
const PREFIX: &str = "tana-chaos-";
/// The second number of the addresses.
const NETWORK: u8 = 213;
/// The last number of machine 0's address.
const FIRST: u8 = 10;
/// Packets that wait in a device: a burst of 16 MB.
const QUEUE_PACKETS: &str = "10000";
/// Bytes of the largest packet of the machines' network.
const MTU_BYTES: &str = "1500";

/// Why there is no lab.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// This machine does not allow it; a test says "not run".
    #[error("{0}")]
    NotHere(String),
    /// Something else failed.
    #[error("cannot build the network: {0}")]
    Failed(String),
}

/// Whether this process may make namespaces and devices.
///
/// # Errors
/// [`LabError::NotHere`] with what is missing.
pub fn check() -> Result<(), LabError> {
    let not_here = |text: &str| Err(LabError::NotHere(text.to_owned()));
    if !rustix::process::geteuid().is_root() {
        return not_here("network namespaces need root");
    }
    if !Path::new("/dev/net/tun").exists() {
        return not_here("there is no /dev/net/tun; load the kernel module tun");
    }
    match ip(&["netns", "list"]) {
        Ok(_) => Ok(()),
        Err(reason) => not_here(&format!("the command `ip` of iproute2 does not work here: {reason}")),
    }
}

/// Runs `ip`; what it printed.
fn ip(words: &[&str]) -> Result<String, String> {
    let output = Command::new("ip").args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("ip {}: {error}", words.join(" ")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// Removes the namespaces of programs that are gone.
fn remove_left_over() -> Result<(), String> {
    for line in ip(&["netns", "list"])?.lines() {
        let Some(name) = line.split_whitespace().next() else { continue };
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            ip(&["netns", "del", name])?;
        }
    }
    Ok(())
}

/// A network of machines.
#[derive(Debug)]
pub struct Lab {
    names: Vec<String>,
    network: u8,
    switch: Option<Switch>,
}

impl Lab {
    /// Makes `count` machines; `seed` decides which packets get lost.
    ///
    /// # Errors
    /// [`LabError`]; then nothing of it is left.
    pub fn build(count: usize, seed: u64) -> Result<Self, LabError> {
        check()?;
        if count >= PLACES_MAX {
            return Err(LabError::Failed(format!("a lab has fewer than {PLACES_MAX} machines")));
        }
        remove_left_over().map_err(LabError::Failed)?;
        let addresses = ip(&["-o", "address"]).map_err(LabError::Failed)?;
        let network = (0..=u8::MAX).find(|number| !addresses.contains(&format!(" 10.{NETWORK}.{number}.")));
        let network = network.ok_or_else(|| LabError::Failed(format!("all of 10.{NETWORK}.0.0/16 is in use")))?;
        let mut lab = Self { names: Vec::new(), network, switch: None };
        let places = (0..count).map(|_| lab.add()).chain([lab_host(network)]);
        let places = places.collect::<Result<Vec<_>, _>>().map_err(LabError::Failed)?;
        lab.switch = Some(Switch::start(places, seed).map_err(|error| LabError::Failed(error.to_string()))?);
        Ok(lab)
    }

    fn add(&mut self) -> Result<(Tun, Ipv4Addr), String> {
        let number = self.names.len();
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        ip(&["netns", "add", &name])?;
        remains::note_spaces(std::slice::from_ref(&name));
        self.names.push(name);
        let name = &self.names[number];
        let device = format!("tana{}-{number}", self.network);
        let tun = Tun::create(&device).map_err(|error| format!("cannot make the interface {device}: {error}"))?;
        ip(&["link", "set", &device, "netns", name])?;
        let address = self.address(number);
        set_up(&["-n", name], &device, address)?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        Ok((tun, address))
    }

    /// The address of machine `number`.
    pub fn address(&self, number: usize) -> Ipv4Addr {
        // Fewer than PLACES_MAX = 64 machines: 10 + 63 fits.
        Ipv4Addr::new(10, NETWORK, self.network, FIRST + number as u8)
    }

    /// The switch between them. The place of machine i is i, the program's own is [`Self::host`].
    pub fn switch(&self) -> &Switch {
        // It is set before a lab is given to anybody, and taken only when the lab is dropped.
        self.switch.as_ref().unwrap_or_else(|| unreachable!("a lab has a switch"))
    }

    /// The program's own place at the switch.
    pub fn host(&self) -> usize {
        self.names.len()
    }

    /// How many machines there are.
    pub fn machines(&self) -> usize {
        self.names.len()
    }

    /// A command that becomes `program` on machine `number`.
    pub fn command(&self, number: usize, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[number]]).arg(program);
        command
    }

    /// Calls `work` on a thread that is on machine `number`: sockets that it opens are there.
    ///
    /// # Errors
    /// What the system says when the thread cannot go there.
    pub fn inside<T: Send + 'static>(
        &self,
        number: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<io::Result<T>>> {
        let file = File::open(Path::new("/run/netns").join(&self.names[number]))?;
        std::thread::Builder::new().name(format!("machine {number}")).spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(work())
        })
    }
}

/// The program's own device.
fn lab_host(network: u8) -> Result<(Tun, Ipv4Addr), String> {
    let (device, address) = (format!("tana{network}-host"), Ipv4Addr::new(10, NETWORK, network, 1));
    let tun = Tun::create(&device).map_err(|error| format!("cannot make the interface {device}: {error}"))?;
    set_up(&[], &device, address)?;
    Ok((tun, address))
}

fn set_up(space: &[&str], device: &str, address: Ipv4Addr) -> Result<(), String> {
    let run = |words: &[&str]| ip(&[space, words].concat());
    run(&["address", "add", &format!("{address}/24"), "dev", device])?;
    run(&["link", "set", device, "mtu", MTU_BYTES, "txqueuelen", QUEUE_PACKETS, "up"])?;
    Ok(())
}

/// Removes namespaces by their names; what fails is gone already.
pub fn remove(names: &[String]) {
    for name in names {
        let _ = ip(&["netns", "del", name]);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The devices end with their files, which the switch has.
        self.switch = None;
        remove(&self.names);
        remains::forget_spaces(&self.names);
    }
}
