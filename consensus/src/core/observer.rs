//! What simplex reports: every vote and certificate it sees. Conflicting votes become evidence, certificates move the status, votes and certificates
//! are told to those who watch, and everything goes on to the library's own reporter, which delivers finalized blocks from it.

use std::sync::Arc;

use commonware_actor::Feedback;
use commonware_consensus::simplex::elector::{Config as _, Elector as _, RoundRobin, RoundRobinElector};
use commonware_consensus::simplex::types::{Activity, Attributable};
use commonware_consensus::types::{Epoch, Participant, Round, View};
use commonware_consensus::{Reporter, Viewable};
use commonware_cryptography::certificate::{Scheme as _, Signers};
use tana_types::Hash;

use super::block::{Digest, hash};
use super::keys::key_bytes;
use super::scheme::Scheme;
use super::shared::Shared;
use crate::evidence;
use crate::observation::{Observation, VoteKind};

/// What a vote to skip a view names as its block.
const NO_BLOCK: Hash = [0; 32];

/// Leaders take turns, by the order of their keys.
pub(crate) type Rotation = RoundRobin<commonware_cryptography::Sha256>;

/// The reporter of one epoch's engine. Clones share.
#[derive(Clone)]
pub(crate) struct Observer<R> {
    shared: Arc<Shared>,
    scheme: Arc<Scheme>,
    epoch: u64,
    inner: R,
}

impl<R> Observer<R> {
    pub(crate) fn new(shared: Arc<Shared>, scheme: Arc<Scheme>, epoch: u64, inner: R) -> Self {
        Self { shared, scheme, epoch, inner }
    }

    /// The view after `ended` is the one that runs.
    fn entered(&self, ended: View, nullified: bool) {
        let view = ended.get().saturating_add(1);
        let elector: RoundRobinElector<Scheme> = Rotation::default().build(self.scheme.participants());
        let leader = elector.elect(Round::new(Epoch::new(self.epoch), View::new(view)), ());
        let leader = self.scheme.participants().get(leader.get() as usize).map_or([0; 32], key_bytes);
        if nullified {
            self.shared.count(|counts| counts.views_nullified += 1);
        }
        // An old certificate says nothing about the view that runs; `entered` leaves it alone.
        self.shared.entered(self.epoch, view, leader);
    }

    /// Tells those who watch of a vote.
    fn voted(&self, view: View, signer: Participant, kind: VoteKind, block: Hash) {
        let participants = self.scheme.participants();
        let Some(validator) = participants.get(signer.get() as usize).map(key_bytes) else { return };
        self.shared.host.observed(Observation::Vote {
            epoch: self.epoch,
            view: view.get(),
            validator,
            place: signer.get(),
            validators: participants.len() as u32,
            kind,
            block,
        });
    }

    /// Tells those who watch of a certificate.
    fn certified(&self, view: View, signers: &Signers, kind: VoteKind, block: Hash) {
        self.shared.host.observed(Observation::Certificate {
            epoch: self.epoch,
            view: view.get(),
            kind,
            block,
            voters: signers.iter().map(Participant::get).collect(),
            validators: self.scheme.participants().len() as u32,
        });
    }
}

impl<R: Reporter<Activity = Activity<Scheme, Digest>>> Reporter for Observer<R> {
    type Activity = Activity<Scheme, Digest>;

    fn report(&mut self, activity: Self::Activity) -> Feedback {
        match &activity {
            Activity::Notarize(vote) => {
                self.voted(vote.view(), vote.signer(), VoteKind::Notarize, hash(&vote.proposal.payload));
            }
            Activity::Finalize(vote) => {
                self.voted(vote.view(), vote.signer(), VoteKind::Finalize, hash(&vote.proposal.payload));
            }
            Activity::Nullify(vote) => self.voted(vote.view(), vote.signer(), VoteKind::Nullify, NO_BLOCK),
            Activity::Notarization(certificate) => {
                let (view, block) = (certificate.view(), hash(&certificate.proposal.payload));
                self.certified(view, &certificate.certificate.signers, VoteKind::Notarize, block);
                self.entered(view, false);
            }
            Activity::Finalization(certificate) => {
                let (view, block) = (certificate.view(), hash(&certificate.proposal.payload));
                self.certified(view, &certificate.certificate.signers, VoteKind::Finalize, block);
                self.entered(view, false);
            }
            Activity::Nullification(certificate) => {
                let view = certificate.view();
                self.certified(view, &certificate.certificate.signers, VoteKind::Nullify, NO_BLOCK);
                self.entered(view, true);
            }
            _ => {
                if let Some((proof, offence)) = evidence::from_activity(&self.scheme, &activity) {
                    tracing::warn!(
                        culprit = %hex::encode(offence.culprit),
                        epoch = offence.epoch,
                        view = offence.view,
                        "a validator cast conflicting votes"
                    );
                    self.shared.evidence(Some(offence.culprit), proof);
                }
            }
        }
        self.inner.report(activity)
    }
}
