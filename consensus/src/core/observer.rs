//! What simplex reports: every vote and certificate it sees. Conflicting votes become evidence, certificates move the status, and everything
//! goes on to the library's own reporter, which delivers finalized blocks from it.

use std::sync::Arc;

use commonware_actor::Feedback;
use commonware_consensus::simplex::elector::{Config as _, Elector as _, RoundRobin, RoundRobinElector};
use commonware_consensus::simplex::types::Activity;
use commonware_consensus::types::{Epoch, Round, View};
use commonware_consensus::{Reporter, Viewable};
use commonware_cryptography::certificate::Scheme as _;

use super::block::Digest;
use super::keys::key_bytes;
use super::scheme::Scheme;
use super::shared::Shared;
use crate::evidence;

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
        self.shared.with(|state| {
            state.status.counts.views_nullified += u64::from(nullified);
            if state.status.epoch == self.epoch && view > state.status.view {
                (state.status.view, state.status.leader) = (view, leader);
            }
        });
    }
}

impl<R: Reporter<Activity = Activity<Scheme, Digest>>> Reporter for Observer<R> {
    type Activity = Activity<Scheme, Digest>;

    fn report(&mut self, activity: Self::Activity) -> Feedback {
        match &activity {
            Activity::Notarization(certificate) => self.entered(certificate.view(), false),
            Activity::Finalization(certificate) => self.entered(certificate.view(), false),
            Activity::Nullification(certificate) => self.entered(certificate.view(), true),
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
