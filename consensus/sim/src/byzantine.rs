//! Liars: validators with a good key and a real node behind them, whose messages are changed on the way out, differently for different
//! recipients. What they can do together covers what a traitor with our own code, changed, would try first.
//!
//! | character | what it does |
//! |---|---|
//! | twins | two nodes with one key, each talking to a part of the others, the parts moving (`world`) |
//! | equivocator | proposes one block to some and another to the rest, with the votes that belong to each |
//! | double voter | tells some that it votes for something that nobody has seen |
//! | wrong roots | computes wrong state roots, proposes blocks with them and refuses good ones (`replica`) |
//! | withholder | gives its batches to one other validator alone, which changes, and answers no request |
//! | corrupter | changes bodies behind their seals on the way to some |
//! | bad batches | seals batches with invalid signatures for some |
//! | double sealer | seals two batches at each sequence and gives each to half of the others |
//! | garbage | sends random bytes, and bytes that begin well, on every channel (`world`) |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use commonware_codec::{Copying, DecodeExt, Encode};
use commonware_consensus::Epochable;
use commonware_consensus::simplex::types::{Finalize, Notarize, Proposal, Vote};
use tana_consensus::core::block::{Block, BlockConfig, Digest, digest, hash};
use tana_consensus::core::scheme::{Scheme, Schemes};
use tana_lane::Fetch;
use tana_sim_network::{Twist, Twisted};
use tana_types::Hash;
use tana_types::batch::{Batch, SEAL_BYTES};
use tana_types::header::BlockHeader;

use crate::chain::SimChain;
use tana_sim_network::dice::Dice;

/// The channels, as the core numbers them.
const VOTES: u64 = 0;
const BLOCKS: u64 = 3;
const BATCHES: u64 = 6;
const BATCH_FETCHES: u64 = 7;
/// Other versions of own blocks that are remembered.
const ALTERNATIVES_MAX: usize = 64;

/// See the module's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Character {
    /// Two nodes, one key.
    Twins,
    /// Two proposals in one view.
    Equivocator,
    /// Two votes in one view.
    DoubleVoter,
    /// Wrong state roots.
    WrongRoots,
    /// Batches for one other alone.
    Withholder,
    /// Bodies changed on the way.
    Corrupter,
    /// Batches with bad signatures.
    BadBatches,
    /// Two batches at a sequence.
    DoubleSealer,
    /// Random bytes.
    Garbage,
}

impl Character {
    /// All of them.
    pub const ALL: [Character; 9] = [
        Character::Twins,
        Character::Equivocator,
        Character::DoubleVoter,
        Character::WrongRoots,
        Character::Withholder,
        Character::Corrupter,
        Character::BadBatches,
        Character::DoubleSealer,
        Character::Garbage,
    ];

    /// Whether it signs votes of its own making, for which it must know the validator set.
    pub fn signs_votes(self) -> bool {
        matches!(self, Character::Equivocator | Character::DoubleVoter)
    }
}

/// A liar's hand on its messages.
pub struct Liar {
    character: Character,
    chain: Arc<SimChain>,
    validator: usize,
    schemes: Schemes,
    dice: Dice,
    /// Who is told the other story.
    victims: BTreeSet<[u8; 32]>,
    /// Own blocks by hash, and the other version of each.
    alternatives: BTreeMap<Hash, BlockHeader>,
    messages: u64,
}

/// After how many messages the victims change.
const MESSAGES_PER_STORY: u64 = 400;

impl Liar {
    /// The liar with this validator's key.
    pub fn new(character: Character, chain: &Arc<SimChain>, validator: usize, seed: u64) -> Self {
        let mut liar = Self {
            character,
            chain: chain.clone(),
            validator,
            schemes: Schemes::new(&chain.hash()),
            dice: Dice::new(seed, "liar"),
            victims: BTreeSet::new(),
            alternatives: BTreeMap::new(),
            messages: 0,
        };
        liar.choose_victims();
        liar
    }

    fn choose_victims(&mut self) {
        let mut others: Vec<_> = (0..self.chain.numbers.validators).filter(|other| *other != self.validator).collect();
        self.dice.shuffle(&mut others);
        let count = match self.character {
            // All but one are told nothing.
            Character::Withholder => others.len().saturating_sub(1),
            _ => others.len().div_ceil(2),
        };
        self.victims = others.into_iter().take(count).map(|other| self.chain.public(other)).collect();
    }

    /// The other version of an own block: a millisecond later.
    fn other_block(&mut self, victim: bool, message: &[u8]) -> Twisted {
        let config = BlockConfig { genesis_hash: self.chain.hash() };
        let Ok(block) = <Block as commonware_codec::Decode>::decode_cfg(Copying(message), &config) else {
            return Twisted::Pass;
        };
        let Some(header) = block.header().filter(|header| header.proposer == self.chain.public(self.validator)) else {
            return Twisted::Pass;
        };
        let other = BlockHeader { timestamp_ms: header.timestamp_ms + 1, ..header.clone() };
        while self.alternatives.len() >= ALTERNATIVES_MAX {
            self.alternatives.pop_first();
        }
        self.alternatives.insert(block.hash(), other.clone());
        if victim { Twisted::Other(Block::new(other).encode().to_vec()) } else { Twisted::Pass }
    }

    /// Another vote of the same view.
    fn other_vote(&mut self, message: &[u8]) -> Twisted {
        let Some(start) = message.iter().position(|byte| byte & 0x80 == 0).map(|last| last + 1) else {
            return Twisted::Pass;
        };
        let Ok(vote) = Vote::<Scheme, Digest>::decode(Copying(&message[start..])) else { return Twisted::Pass };
        let other = match &vote {
            Vote::Notarize(vote) => self.other_proposal(&vote.proposal).and_then(|proposal| {
                Some(Vote::Notarize(Notarize::sign(&self.scheme(proposal.epoch().get())?, proposal)?))
            }),
            Vote::Finalize(vote) => self.other_proposal(&vote.proposal).and_then(|proposal| {
                Some(Vote::Finalize(Finalize::sign(&self.scheme(proposal.epoch().get())?, proposal)?))
            }),
            Vote::Nullify(_) => None,
        };
        match other {
            Some(other) => Twisted::Other([&message[..start], &other.encode()[..]].concat()),
            None => Twisted::Pass,
        }
    }

    fn other_proposal(&self, proposal: &Proposal<Digest>) -> Option<Proposal<Digest>> {
        let payload = match self.character {
            Character::Equivocator => digest(&self.alternatives.get(&hash(&proposal.payload))?.hash()),
            _ => digest(blake3::hash(&hash(&proposal.payload)).as_bytes()),
        };
        Some(Proposal { payload, ..proposal.clone() })
    }

    /// The scheme that signs votes of an epoch. A liar that signs votes lives on a chain whose set does not change.
    fn scheme(&self, epoch: u64) -> Option<Scheme> {
        let set: Vec<_> = (0..self.chain.numbers.validators).map(|validator| self.chain.public(validator)).collect();
        self.schemes.learn(epoch, &set);
        self.schemes.signer(epoch, &self.chain.validators[self.validator])
    }
}

impl Twist for Liar {
    fn twist(&mut self, channel: u64, to: &[u8; 32], message: &[u8]) -> Twisted {
        self.messages += 1;
        if self.messages.is_multiple_of(MESSAGES_PER_STORY) {
            self.choose_victims();
        }
        if channel == BLOCKS && self.character == Character::Equivocator {
            // Also for those who get the first version: both must be known by name.
            return self.other_block(self.victims.contains(to), message);
        }
        if !self.victims.contains(to) {
            return Twisted::Pass;
        }
        let reseal = |lie| reseal(&self.chain, self.validator, message, lie).map_or(Twisted::Pass, Twisted::Other);
        match (self.character, channel) {
            (Character::Withholder, BATCHES) => Twisted::Drop,
            (Character::Withholder, BATCH_FETCHES) if matches!(Fetch::decode(message), Ok(Fetch::Batch(_))) => {
                Twisted::Drop
            }
            (Character::Corrupter, BATCHES) => reseal(Lie::OtherBody),
            (Character::BadBatches, BATCHES) => reseal(Lie::BadSignature),
            (Character::DoubleSealer, BATCHES) => reseal(Lie::OtherSeal),
            (Character::Equivocator | Character::DoubleVoter, VOTES) => self.other_vote(message),
            _ => Twisted::Pass,
        }
    }
}

/// How a sealed batch is changed by its own author.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// A signature in it is not valid, and the author seals it all the same.
    BadSignature,
    /// Another batch at the same sequence.
    OtherSeal,
    /// The bytes behind the seal are not those that were sealed.
    OtherBody,
}

/// Another version of a sealed batch by the author's own key; none where the bytes are no batch.
pub fn reseal(chain: &SimChain, author: usize, sealed: &[u8], lie: Lie) -> Option<Vec<u8>> {
    let mut changed = sealed.to_vec();
    if lie == Lie::OtherBody {
        *changed.last_mut()? ^= 1;
        return Some(changed);
    }
    let mut batch = Batch::default();
    batch.load_sealed(sealed, &chain.chain).ok()?;
    let seal = *batch.seal_header();
    let expiry_height = match lie {
        Lie::OtherSeal => seal.expiry_height.get().saturating_sub(1),
        _ => seal.expiry_height.get(),
    };
    if lie == Lie::BadSignature {
        // The signature is the end of the last transaction, which is the end of the batch.
        *changed.last_mut()? ^= 1;
        let body: Hash = *blake3::hash(&changed[SEAL_BYTES..]).as_bytes();
        let at = std::mem::offset_of!(tana_types::batch::Seal, body_hash);
        changed[at..at + body.len()].copy_from_slice(&body);
        batch.load_sealed(&changed, &chain.chain).ok()?;
    }
    let (epoch, sequence, skipped) = (seal.epoch.get(), seal.sequence.get(), seal.skipped.get());
    batch.seal(&chain.chain, &chain.validators[author], epoch, sequence, skipped, expiry_height);
    Some(batch.sealed_bytes().to_vec())
}

/// Random bytes for a channel, sometimes behind a beginning that is taken for a message.
pub fn garbage(dice: &mut Dice, channel: u64) -> Vec<u8> {
    let length = match dice.below(4) {
        0 => dice.place(4),
        1 => dice.place(64),
        2 => dice.place(400),
        _ => dice.place(5_000),
    };
    let mut bytes = dice.bytes(length);
    if dice.chance(500) {
        // An epoch and a kind, a version and a kind, a version and a count, or a length.
        let beginning: &[u8] = match channel {
            0..=2 => &[0, (channel % 3) as u8],
            5 | 7 => &[1, 1],
            _ => &[1, 0, 0, 0],
        };
        bytes.splice(0..0, beginning.iter().copied());
    }
    bytes
}
