//! Batches that go through one equation together are judged each on its own.
#![allow(clippy::unwrap_used)]

use ed25519_dalek::SigningKey;
use tana_ingest::AdmissionConfig;
use tana_net::{AnswerHub, Limits};
use tana_types::batch::Origin;
use tana_types::genesis::Rules;
use tana_types::key::PublicKey;
use tana_types::payload::Payload;
use tana_types::transaction::{Transaction, sign};
use tana_verify::Backend;

use super::*;
use crate::channel::channel;

/// Transactions of each batch: enough that the two orders of magnitude of an equation are taken.
const TRANSACTIONS: u64 = 20;
/// Batches that wait: as many as make a verifier join two.
const WAITING: usize = JOIN_WAITING_MIN + 4;

fn chain() -> Chain {
    Chain::new([7; 32])
}

/// A batch of transfers by one sender; those at the places `bad` have another's signature.
fn batch(number: u64, bad: &[u64], suspect: bool) -> Batch {
    let sender = SigningKey::from_bytes(&[number as u8 + 1; 32]);
    let payload = Payload::Transfer { recipient: PublicKey([2; 32]), currency: "USD".parse().unwrap(), amount: 5 };
    let mut batch = Batch::with_capacity(TRANSACTIONS as usize, 8_192);
    for place in 0..TRANSACTIONS {
        let mut bytes = sign(&chain(), &sender, place + 1, 1, &payload).unwrap();
        if bad.contains(&place) {
            let other = sign(&chain(), &sender, place + 100, 1, &payload).unwrap();
            let signature = bytes.len() - 64;
            bytes[signature..].copy_from_slice(&other[signature..]);
        }
        batch.push(Transaction::exactly(&bytes).unwrap(), NO_ACCOUNT, Origin::default());
    }
    batch.suspect = suspect;
    batch
}

struct Scene {
    stage: VerifyStage,
    sender: Outlet<Batch>,
    judged: Inlet<Batch>,
}

fn scene() -> Scene {
    let (_, directory) = tana_accounts::directory(100);
    let (sender, input) = channel(4 * WAITING, Vec::new());
    let (output, judged) = channel(4 * WAITING, Vec::new());
    let seeds = AdmissionConfig::with_seeds([1, 2, 3, 4]);
    let parts = VerifyParts {
        verifier: Verifier::new(Backend::Portable, [9; 32]),
        chain: chain(),
        directory: directory.clone(),
        sources: Arc::default(),
        answers: Answers::new(AnswerHub::new(&Limits::default())),
        admission: Arc::new(Admission::new(&seeds, &chain(), &Rules::default(), directory).unwrap()),
        bad_signatures: Arc::default(),
    };
    Scene { stage: VerifyStage::new(parts, input, output), sender, judged }
}

impl Scene {
    /// The places of what is left of each batch, by nonce, and how many steps it took.
    fn judge(&mut self, batches: Vec<Batch>) -> (Vec<Vec<u64>>, usize) {
        for batch in batches {
            assert!(self.sender.send(batch));
        }
        let steps = std::iter::from_fn(|| matches!(self.stage.poll(0), Poll::Worked).then_some(())).count();
        let left = std::iter::from_fn(|| self.judged.take()).map(|batch| {
            assert_eq!(batch.ids.len(), batch.len());
            let nonce = |(transaction, id): (Transaction<'_>, &tana_types::Hash)| {
                assert_eq!(transaction.id(), *id);
                transaction.header().nonce.get() - 1
            };
            batch.transactions().zip(&batch.ids).map(nonce).collect()
        });
        (left.collect(), steps)
    }

    fn bad_signatures(&self) -> u64 {
        self.stage.bad_signatures.load(std::sync::atomic::Ordering::Relaxed)
    }
}

fn all_but(bad: &[u64]) -> Vec<u64> {
    (0..TRANSACTIONS).filter(|place| !bad.contains(place)).collect()
}

#[test]
fn a_bad_signature_in_one_of_two_joined_batches_is_dropped_there_and_nowhere_else() {
    for (bad_batch, bad) in [(0, vec![0]), (0, vec![TRANSACTIONS - 1]), (1, vec![0]), (1, vec![3, TRANSACTIONS - 1])] {
        let mut scene = scene();
        let batches =
            (0..WAITING).map(|number| batch(number as u64, if number == bad_batch { &bad } else { &[] }, false));
        let (left, steps) = scene.judge(batches.collect());
        let expected: Vec<_> =
            (0..WAITING).map(|number| all_but(if number == bad_batch { &bad } else { &[] })).collect();
        assert_eq!(left, expected);
        assert_eq!(scene.bad_signatures(), bad.len() as u64);
        // The first two went together; after their equation had failed, none did.
        assert_eq!(steps, WAITING - 1);
    }
}

#[test]
fn good_batches_are_joined_while_many_wait_and_suspect_ones_never() {
    let (left, steps) = scene().judge((0..WAITING).map(|number| batch(number as u64, &[], false)).collect());
    assert_eq!(left, vec![all_but(&[]); WAITING]);
    // Twelve wait: two leave at a time while eight are behind the one that is taken.
    assert_eq!(steps, WAITING - (WAITING - JOIN_WAITING_MIN) / 2);
    let mut scene = scene();
    let bad = |number: usize| if number % 2 == 1 { vec![number as u64] } else { vec![] };
    let batches = (0..WAITING).map(|number| batch(number as u64, &bad(number), number % 2 == 1));
    let (left, steps) = scene.judge(batches.collect());
    assert_eq!(left, (0..WAITING).map(|number| all_but(&bad(number))).collect::<Vec<_>>());
    assert_eq!((steps, scene.bad_signatures()), (WAITING, WAITING as u64 / 2));
}
