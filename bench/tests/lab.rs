//! The network of `chaos`, alone: two machines that send each other packets over wires that are good, slow, lossy and cut.
//!
//! Needs root, as the program does; without it, the test says so and checks nothing.

#![allow(clippy::unwrap_used)]

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use tana_bench::chaos::space::{Lab, LabError};
use tana_bench::chaos::wire::Fault;

const PORT: u16 = 9_000;
/// Packets that fit a socket of the default size even when its reader has no turn for a while.
const BURST: u32 = 50;

/// A lab of two machines, on the second of which a socket sends everything back, until it hears an empty packet.
fn lab() -> Option<(Lab, std::thread::JoinHandle<std::io::Result<()>>)> {
    let lab = match Lab::build(2, 7) {
        Ok(lab) => lab,
        Err(LabError::NotHere(reason)) => {
            eprintln!("not run: {reason}");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let address = SocketAddr::from((lab.address(1), PORT));
    let (ready, is_ready) = std::sync::mpsc::channel();
    let echo = move || {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        ready.send(()).unwrap();
        let mut buffer = [0; 2_000];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            if count == 0 {
                break;
            }
            socket.send_to(&buffer[..count], from).unwrap();
        }
    };
    let echo = lab.inside(1, echo).unwrap();
    is_ready.recv_timeout(Duration::from_secs(10)).unwrap();
    Some((lab, echo))
}

/// Sends `count` packets from machine 0 to machine 1; how many came back and how long each took at the least.
fn echoes(lab: &Lab, count: u32, within: Duration) -> (u32, Duration) {
    let (here, there) = (SocketAddr::from((lab.address(0), 0)), SocketAddr::from((lab.address(1), PORT)));
    let send = move || {
        let socket = UdpSocket::bind(here).unwrap();
        socket.connect(there).unwrap();
        socket.set_read_timeout(Some(within)).unwrap();
        let mut sent = Vec::new();
        for number in 0..count {
            sent.push(Instant::now());
            socket.send(&number.to_le_bytes().repeat(250)).unwrap();
        }
        let (mut heard, mut least, mut buffer) = (0, within, [0; 2_000]);
        while heard < count {
            match socket.recv(&mut buffer) {
                Ok(bytes) => {
                    assert_eq!(bytes, 1_000);
                    let number = u32::from_le_bytes(buffer[..4].try_into().unwrap());
                    least = least.min(sent[number as usize].elapsed());
                    heard += 1;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) => panic!("{error}"),
            }
        }
        (heard, least)
    };
    lab.inside(0, send).unwrap().join().unwrap().unwrap()
}

#[test]
fn machines_hear_each_other_as_their_wires_allow() {
    let Some((lab, echo)) = lab() else { return };
    let long = Duration::from_secs(10);
    assert_eq!(echoes(&lab, BURST, long).0, BURST, "a good wire");

    lab.switch().set(0, 1, Fault::lossy(0, 30, 5));
    lab.switch().set(1, 0, Fault::lossy(0, 20, 0));
    let (heard, least) = echoes(&lab, BURST, long);
    assert_eq!(heard, BURST, "a slow wire");
    assert!(least >= Duration::from_millis(50), "{least:?}");

    lab.switch().heal();
    lab.switch().set(0, 1, Fault::lossy(50, 0, 0));
    let (heard, _) = echoes(&lab, 200, Duration::from_secs(1));
    assert!((40..160).contains(&heard), "a lossy wire: {heard} of 200");

    lab.switch().heal();
    lab.switch().set(1, 0, Fault::CUT);
    assert_eq!(echoes(&lab, 10, Duration::from_millis(300)).0, 0, "a wire that is cut in one direction");
    let lost = lab.switch().counts().lost;
    assert!(lost >= 10, "{lost}");

    // The program itself is on the network too: nobody listens there, which the machine says at once.
    let error = TcpStream::connect_timeout(&SocketAddr::from((lab.address(1), 1)), long).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

    lab.switch().heal();
    let there = SocketAddr::from((lab.address(1), PORT));
    let stop = move || UdpSocket::bind(("0.0.0.0", 0)).unwrap().send_to(&[], there).unwrap();
    lab.inside(0, stop).unwrap().join().unwrap().unwrap();
    echo.join().unwrap().unwrap();
}
