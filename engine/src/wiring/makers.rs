//! Makes the stages of a pipeline, each once and verifiers as often as threads are laid out for them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tana_accounts::Directory;
use tana_ingest::Admission;
use tana_net::AnswerHub;
use tana_verify::Verifier;

use super::{OrderParts, Pipeline, Wiring};
use crate::answers::Answers;
use crate::layout::Role;
use crate::node::NodeError;
use crate::pipeline::agreed::AgreedStage;
use crate::pipeline::commit::{CommitStage, CommitStageParts};
use crate::pipeline::execute::{ExecuteParts, ExecuteStage, Limiter};
use crate::pipeline::flush::FlushStage;
use crate::pipeline::lane::{LaneParts, LaneStage};
use crate::pipeline::membership::Membership;
use crate::pipeline::order::OrderStage;
use crate::pipeline::remote::RemoteParts;
use crate::pipeline::root::RootStage;
use crate::pipeline::verify::{VerifyParts, VerifyStage};
use crate::sources::Sources;
use crate::stage::{Stage, StageCounters};
use crate::sync::changes::SetChanges;
use crate::sync::install::changes_folder;

/// Makes each stage once, verifiers as often as asked.
pub(super) struct StageMakers {
    pub(super) ingest_counters: Arc<StageCounters>,
    verify: VerifyMaker,
    serial: Vec<(Role, Box<dyn Stage>)>,
}

struct VerifyMaker {
    remote: Option<RemoteParts>,
    directory: Arc<Directory>,
    sources: Arc<Sources>,
    admission: Arc<Admission>,
    bad_signatures: Arc<AtomicU64>,
}

impl StageMakers {
    pub(super) fn new(wiring: &Wiring, pipeline: Pipeline, hub: &AnswerHub) -> Result<Self, NodeError> {
        let channels = &wiring.channels;
        let answers = || Answers::new(hub.clone());
        let Pipeline { replayer, published, pool, .. } = pipeline;
        let committed = replayer.height;
        let mut serial: Vec<(Role, Box<dyn Stage>)> = Vec::new();
        let flush_ns = wiring.config.ingest.flush_ms * 1_000_000;
        serial.push((Role::Flush, Box::new(FlushStage::new(pipeline.intake.clone(), flush_ns))));
        let lane = LaneParts {
            lane: pipeline.lane,
            lane_number: 0,
            epoch_blocks: wiring.genesis.rules.epoch_blocks,
            answers: answers(),
            published: published.clone(),
            gate: pipeline.gate,
            failure: wiring.failure.clone(),
        };
        let lane = LaneStage::new(lane, channels.lane.1.clone(), channels.log.0.clone(), pool.clone());
        serial.push((Role::Lane, Box::new(lane)));
        let agrees = matches!(pipeline.order, OrderParts::Agreed(_));
        let port = agrees.then(|| wiring.ends.port.clone());
        let (batches, log) = (channels.batches.1.clone(), channels.log.0.clone());
        let order: Box<dyn Stage> = match pipeline.order {
            OrderParts::Agreed(parts) => Box::new(AgreedStage::new(*parts, batches, channels.inputs.1.clone(), log)),
            OrderParts::Alone(orderer, batch_mark) => Box::new(OrderStage::new(
                orderer,
                batches,
                channels.roots.1.clone(),
                log,
                published.clone(),
                batch_mark,
                wiring.failure.clone(),
            )),
        };
        serial.push((Role::Order, order));
        let membership = agrees.then(|| {
            let mut membership = Membership::new(wiring.validator().0, pipeline.admission.clone());
            membership.executed(&replayer.state);
            membership
        });
        let execute = ExecuteParts {
            state: replayer.state,
            recovered: pipeline.final_blocks.into(),
            outcomes: channels.outcomes.1.clone(),
            questions: channels.questions.1.clone(),
            feed: pipeline.feed,
            limiter: Limiter::new(wiring.config.execution_limit_per_s),
            answers: answers(),
            buffers: pipeline.buffers.clone(),
            published: published.clone(),
            failure: wiring.failure.clone(),
            membership,
            changes: SetChanges::new(&changes_folder(&wiring.config.data), &wiring.genesis),
        };
        let execute = ExecuteStage::new(execute, channels.blocks.1.clone(), channels.executed.0.clone());
        serial.push((Role::Execute, Box::new(execute)));
        let root = RootStage::new(
            replayer.tree,
            tree_threads(wiring)?,
            replayer.attested,
            channels.executed.1.clone(),
            channels.log.0.clone(),
            channels.roots.0.clone(),
            port.clone(),
            wiring.failure.clone(),
        );
        serial.push((Role::Root, Box::new(root)));
        let commit = CommitStageParts {
            buffers: pipeline.buffers.clone(),
            places: pipeline.places,
            port,
            outcomes: channels.outcomes.0.clone(),
            checkpoints: pipeline.checkpoints,
            answers: answers(),
            admission: pipeline.admission.clone(),
            published,
            blocks: pipeline.blocks,
            durable: pipeline.durable,
            last_batch_position: pipeline.last_batch_position,
            failure: wiring.failure.clone(),
        };
        serial.push((Role::Commit, Box::new(CommitStage::new(commit, committed, channels.committed.1.clone()))));
        let remote = agrees.then(|| RemoteParts {
            input: channels.remote.1.clone(),
            gate: wiring.ends.remote.clone(),
            buffers: pipeline.buffers,
            port: wiring.ends.port.clone(),
        });
        let verify = VerifyMaker {
            remote,
            directory: pipeline.directory,
            sources: pipeline.sources,
            admission: pipeline.admission,
            bad_signatures: pipeline.bad_signatures,
        };
        Ok(Self { ingest_counters: pipeline.intake.counters().clone(), verify, serial })
    }

    pub(super) fn make(&mut self, role: Role, wiring: &Wiring, hub: &AnswerHub) -> Option<Box<dyn Stage>> {
        if role != Role::Verify {
            let place = self.serial.iter().position(|(other, _)| *other == role)?;
            return Some(self.serial.swap_remove(place).1);
        }
        let parts = VerifyParts {
            verifier: Verifier::new(wiring.backend, rand::random()),
            chain: wiring.chain,
            directory: self.verify.directory.clone(),
            sources: self.verify.sources.clone(),
            answers: Answers::new(hub.clone()),
            admission: self.verify.admission.clone(),
            bad_signatures: self.verify.bad_signatures.clone(),
        };
        let channels = &wiring.channels;
        let stage = VerifyStage::new(parts, channels.verify.1.clone(), channels.lane.0.clone());
        Some(Box::new(match self.verify.remote.clone() {
            Some(remote) => stage.with_remote(remote, channels.log.0.clone()),
            None => stage,
        }))
    }
}

/// Threads for the tree, where there are cores to spare; on few cores one thread is faster.
fn tree_threads(wiring: &Wiring) -> Result<Option<rayon::ThreadPool>, NodeError> {
    if wiring.layout.len() < 8 {
        return Ok(None);
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).thread_name(|number| format!("tree-{number}")).build();
    pool.map(Some)
        .map_err(|error| NodeError::System { action: "start the tree's threads", source: std::io::Error::other(error) })
}
