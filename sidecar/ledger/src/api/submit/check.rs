//! The checks that need neither the node nor the state: chain, payload, signature. What fails here never reaches the node, where it would be
//! held against this process's address.

use parking_lot::Mutex;
use tana_types::code::Code;
use tana_types::transaction::Chain;
use tana_verify::{Backend, Item, Mode, NoCache, Verifier};

use super::body::Parsed;

/// A refusal of one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub code: Code,
    /// More about it, for people.
    pub detail: String,
}

/// Checks transactions of one chain.
pub struct Checker {
    chain: Chain,
    verifiers: Mutex<Vec<Verifier>>,
}

impl Checker {
    /// A checker for one chain.
    pub fn new(chain: Chain) -> Self {
        Self { chain, verifiers: Mutex::new(Vec::new()) }
    }

    /// One verdict for each transaction. Computes for about 50 µs each: to be called where a thread may be kept.
    pub fn check(&self, parsed: &Parsed) -> Vec<Result<(), Refused>> {
        let mut verdicts: Vec<_> = (0..parsed.ranges.len()).map(|place| self.check_form(parsed, place)).collect();
        let places: Vec<usize> = (0..verdicts.len()).filter(|place| verdicts[*place].is_ok()).collect();
        let mut items = Vec::with_capacity(places.len());
        for &place in &places {
            if let Some(transaction) = parsed.transaction(place) {
                items.push(Item {
                    key: &transaction.header().sender,
                    message: transaction.body(),
                    signature: transaction.signature(),
                    hint: u32::MAX,
                });
            }
        }
        let mut valid = Vec::new();
        let mut verifier = self.take();
        let mode = if items.len() > 1 { Mode::BatchFirst } else { Mode::EachAlone };
        verifier.verify(self.chain.signing_prefix(), &items, &NoCache, mode, &mut valid);
        self.verifiers.lock().push(verifier);
        for (place, is_valid) in places.into_iter().zip(valid) {
            if !is_valid {
                let detail = Code::BadSignature.explanation().to_owned();
                verdicts[place] = Err(Refused { code: Code::BadSignature, detail });
            }
        }
        verdicts
    }

    fn check_form(&self, parsed: &Parsed, place: usize) -> Result<(), Refused> {
        let refused = |code: Code, detail: String| Err(Refused { code, detail });
        let Some(transaction) = parsed.transaction(place) else {
            return refused(Code::Malformed, Code::Malformed.explanation().to_owned());
        };
        if transaction.header().chain.get() != self.chain.tag() {
            let own = hex::encode(self.chain.genesis_hash());
            return refused(
                Code::WrongChain,
                format!("{} The genesis hash here is {own}.", Code::WrongChain.explanation()),
            );
        }
        match transaction.payload() {
            Ok(_) => Ok(()),
            Err(error) => refused(Code::Malformed, format!("{} {error}", Code::Malformed.explanation())),
        }
    }

    /// A verifier that nobody uses; there are as many as check at a time.
    fn take(&self) -> Verifier {
        let idle = self.verifiers.lock().pop();
        idle.unwrap_or_else(|| Verifier::new(Backend::detect().0, rand::random()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use ed25519_dalek::SigningKey;
    use tana_types::key::PublicKey;
    use tana_types::payload::Payload;
    use tana_types::transaction::sign;

    fn transfer(chain: &Chain, nonce: u64) -> Vec<u8> {
        let payload = Payload::Transfer { recipient: PublicKey([2; 32]), currency: "USD".parse().unwrap(), amount: 5 };
        sign(chain, &SigningKey::from_bytes(&[1; 32]), nonce, 1, &payload).unwrap()
    }

    #[test]
    fn each_transaction_gets_its_own_verdict() {
        let chain = Chain::new([7; 32]);
        let mut forged = transfer(&chain, 2);
        forged[10] ^= 1;
        let mut unknown_kind = transfer(&chain, 3);
        unknown_kind[1] = 99;
        let all = [transfer(&chain, 1), forged, transfer(&Chain::new([8; 32]), 1), unknown_kind, transfer(&chain, 4)];
        let (mut ranges, mut at) = (Vec::new(), 0);
        for one in &all {
            ranges.push(at..at + one.len());
            at += one.len();
        }
        let parsed = Parsed { bytes: all.concat().into(), ranges, is_list: true };
        let verdicts = Checker::new(chain).check(&parsed);
        let codes: Vec<_> = verdicts.iter().map(|verdict| verdict.as_ref().err().map(|refused| refused.code)).collect();
        assert_eq!(codes, [None, Some(Code::BadSignature), Some(Code::WrongChain), Some(Code::Malformed), None]);
    }
}
