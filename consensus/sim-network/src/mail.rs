//! A sender over the library's simulated network, with what that does not do by itself: late messages that others overtake, doubled ones,
//! nothing that finalizes, and a liar's or a twin's own view of whom to tell what.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use commonware_actor::{Feedback, Unreliable};
use commonware_p2p::{CheckedSender, LimitedSender, Recipients, simulated};
use commonware_runtime::{Clock, IoBuf, IoBufs, Spawner, Supervisor, deterministic};
use parking_lot::Mutex;
use tana_consensus::core::keys::{PublicKey, key_bytes};

use crate::dice::Dice;

/// What becomes of a message for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Twisted {
    /// It goes out as it is.
    Pass,
    /// It does not go out.
    Drop,
    /// This goes out instead.
    Other(Vec<u8>),
}

/// A liar's hand on the messages of its node.
pub trait Twist: Send + 'static {
    /// What becomes of `message` on `channel` for the recipient `to`.
    fn twist(&mut self, channel: u64, to: &[u8; 32], message: &[u8]) -> Twisted;
}

/// A liar, shared by the senders of its node.
pub type Hand = Arc<Mutex<dyn Twist>>;

/// The runtime.
pub type Context = deterministic::Context;
type Inner = simulated::Sender<PublicKey, Context>;

/// What the network does beside what its links say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// Messages that leave late, of 1,000.
    pub late_per_mille: u64,
    /// How late at most, milliseconds.
    pub late_ms_max: u64,
    /// Messages that leave twice, of 1,000.
    pub doubled_per_mille: u64,
    /// Whether nothing that finalizes leaves.
    pub nothing_finalizes: bool,
}

impl Weather {
    fn is_calm(&self) -> bool {
        !self.nothing_finalizes && self.late_per_mille == 0 && self.doubled_per_mille == 0
    }
}

/// The weather of a simulation and the dice for it. Clones share.
#[derive(Clone)]
pub struct Sky {
    state: Arc<Mutex<(Weather, Dice)>>,
}

impl Sky {
    /// Calm.
    pub fn new(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new((Weather::default(), Dice::new(seed, "weather")))) }
    }

    /// Changes the weather.
    pub fn set(&self, weather: Weather) {
        self.state.lock().0 = weather;
    }

    /// The weather now.
    pub fn weather(&self) -> Weather {
        self.state.lock().0
    }

    /// How many copies of a message leave and how late each, milliseconds.
    fn fates(&self) -> Vec<u64> {
        let (weather, dice) = &mut *self.state.lock();
        let copies = 1 + usize::from(dice.chance(weather.doubled_per_mille));
        let late = |dice: &mut Dice| {
            if dice.chance(weather.late_per_mille) { dice.between(1, weather.late_ms_max) } else { 0 }
        };
        (0..copies).map(|_| late(dice)).collect()
    }
}

/// Whether a message of this channel finalizes something: a vote or a certificate of that kind.
fn finalizes(channel: u64, message: &[u8]) -> bool {
    // The epoch as a varint, then the kind.
    let kind = message.iter().position(|byte| byte & 0x80 == 0).and_then(|last| message.get(last + 1));
    channel <= 1 && kind == Some(&2)
}

/// Whom a twin talks to. Clones share; both twins have one, with opposite sides.
#[derive(Clone, Default)]
pub struct Side {
    hidden: Arc<Mutex<BTreeSet<[u8; 32]>>>,
}

impl Side {
    /// Hides these peers from the twin; all others it talks to.
    pub fn hide(&self, peers: BTreeSet<[u8; 32]>) {
        *self.hidden.lock() = peers;
    }

    /// Whether the twin talks to this peer.
    pub fn reaches(&self, peer: &[u8; 32]) -> bool {
        !self.hidden.lock().contains(peer)
    }
}

/// A sender of one channel of one node.
#[derive(Clone)]
pub struct Mail {
    inner: Inner,
    channel: u64,
    context: Arc<Context>,
    sky: Sky,
    liar: Option<Hand>,
    side: Option<Side>,
}

impl Mail {
    /// A sender over the library's.
    pub fn new(
        inner: Inner,
        channel: u64,
        context: Arc<Context>,
        sky: Sky,
        liar: Option<Hand>,
        side: Option<Side>,
    ) -> Self {
        Self { inner, channel, context, sky, liar, side }
    }

    /// Sends one message to one recipient, as weather and character want it.
    fn post(&self, to: &PublicKey, message: &IoBuf, priority: bool) {
        let peer = key_bytes(to);
        if self.side.as_ref().is_some_and(|side| !side.reaches(&peer)) {
            return;
        }
        let mut message = message.clone();
        if let Some(liar) = &self.liar {
            match liar.lock().twist(self.channel, &peer, message.as_ref()) {
                Twisted::Pass => {}
                Twisted::Drop => return,
                Twisted::Other(other) => message = IoBuf::from(other),
            }
        }
        if self.sky.weather().nothing_finalizes && finalizes(self.channel, message.as_ref()) {
            return;
        }
        for late_ms in self.sky.fates() {
            let (mut sender, to, message) = (self.inner.clone(), to.clone(), message.clone());
            if late_ms == 0 {
                send_now(&mut sender, to, message, priority);
                continue;
            }
            self.context.child("late").spawn(move |context| async move {
                context.sleep(Duration::from_millis(late_ms)).await;
                send_now(&mut sender, to, message, priority);
            });
        }
    }
}

/// Sends to one recipient; a refusal is a loss, which every channel must live with.
fn send_now(sender: &mut Inner, to: PublicKey, message: IoBuf, priority: bool) {
    if let Ok(checked) = sender.check(Recipients::One(to)) {
        let _ = checked.send(message, priority);
    }
}

impl LimitedSender for Mail {
    type PublicKey = PublicKey;
    type Checked<'a> = Letter<'a>;

    fn check(&mut self, recipients: Recipients<PublicKey>) -> Result<Letter<'_>, SystemTime> {
        let plain = self.liar.is_none() && self.side.is_none() && self.sky.weather().is_calm();
        let mail = (!plain).then(|| Box::new(self.clone()));
        Ok(Letter { checked: self.inner.check(recipients)?, mail })
    }
}

/// A message on its way out.
pub struct Letter<'a> {
    checked: <Inner as LimitedSender>::Checked<'a>,
    /// Present where something may happen to it.
    mail: Option<Box<Mail>>,
}

impl CheckedSender for Letter<'_> {
    type PublicKey = PublicKey;

    fn recipients(&self) -> Vec<PublicKey> {
        self.checked.recipients()
    }

    fn send(self, message: impl Into<IoBufs> + Send, priority: bool) -> Unreliable<Feedback> {
        let Some(mail) = self.mail else { return self.checked.send(message, priority) };
        let message = message.into().coalesce();
        for recipient in self.checked.recipients() {
            mail.post(&recipient, &message, priority);
        }
        Unreliable::Outcome(Feedback::Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finalizes_is_known_by_its_kind() {
        assert!(finalizes(0, &[3, 2, 9]) && finalizes(1, &[0x80, 1, 2]));
        assert!(!finalizes(0, &[3, 0, 2]) && !finalizes(5, &[3, 2]) && !finalizes(0, &[]));
    }

    #[test]
    fn rough_weather_delays_and_doubles() {
        let sky = Sky::new(1);
        assert!((0..100).all(|_| sky.fates() == [0]));
        sky.set(Weather { late_per_mille: 500, late_ms_max: 20, doubled_per_mille: 500, nothing_finalizes: false });
        let fates: Vec<_> = (0..200).map(|_| sky.fates()).collect();
        assert!(fates.iter().any(|fate| fate.len() == 2) && fates.iter().flatten().any(|late| *late > 0));
        assert!(fates.iter().flatten().all(|late| *late <= 20));
    }

    #[test]
    fn sides_hide_peers() {
        let side = Side::default();
        assert!(side.reaches(&[1; 32]));
        side.hide(BTreeSet::from([[1; 32]]));
        assert!(!side.clone().reaches(&[1; 32]) && side.reaches(&[2; 32]));
    }
}
