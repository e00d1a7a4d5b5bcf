//! A look at the node before a flood: is it of the load's chain, and have the accounts the nonces that the load continues?
//!
//! Two questions on one short connection tell at once what would otherwise be a million rejections. A node that answers no questions is
//! flooded all the same: the flood itself finds out.

use std::time::Duration;

use tana_net::{ClientError, TxClient};
use tana_types::bulk::bulk_key;
use tana_types::genesis::Genesis;
use tana_types::key::PublicKey;
use tana_types::query::{Answer, Request, Response, Status};
use thiserror::Error;

use crate::config::FloodConfig;
use crate::plan::LoadPlan;

/// How long the node may take for its answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a flood would be in vain.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The node cannot be reached.
    #[error(transparent)]
    Connect(#[from] ClientError),
    /// It is of another chain.
    #[error(
        "the node at {to} runs the chain {chain} with genesis {found}, the load is for {wanted}; pass that chain's genesis with --genesis"
    )]
    OtherChain {
        /// The node.
        to: String,
        /// Its chain's name.
        chain: String,
        /// Its genesis hash.
        found: String,
        /// The load's genesis hash.
        wanted: String,
    },
    /// The accounts' nonces are not those that the load continues.
    #[error(
        "bulk account {number} has used nonce {found} last, the load continues after {wanted}; pass --start-nonce {found} if all accounts \
         have, take unused ones with --first-account, or start a fresh chain"
    )]
    Nonce {
        /// The account's number.
        number: u32,
        /// The nonce that it used last.
        found: u64,
        /// The nonce that the load takes for the last one used.
        wanted: u64,
    },
    /// The system gave no event loop.
    #[error("cannot start an event loop: {0}")]
    Runtime(#[from] std::io::Error),
}

/// Asks the node at `config.to` whether a load of `genesis` and `plan` fits it. `None` when it answers no questions.
///
/// # Errors
/// [`ProbeError`] when it cannot be reached or the load would be rejected as a whole.
pub fn probe(genesis: &Genesis, plan: &LoadPlan, config: &FloodConfig) -> Result<Option<Status>, ProbeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = TxClient::connect(config.to, config.pin, config.bind).await?;
        let result = ask_all(genesis, plan, config, &client).await;
        let _ = tokio::time::timeout(Duration::from_secs(1), client.close()).await;
        result
    })
}

async fn ask_all(
    genesis: &Genesis,
    plan: &LoadPlan,
    config: &FloodConfig,
    client: &TxClient,
) -> Result<Option<Status>, ProbeError> {
    let Some(Answer::Status(status)) = ask(client, &Request::Status).await else { return Ok(None) };
    let wanted = hex::encode(genesis.hash());
    if status.genesis_hash != wanted {
        let (to, chain, found) = (config.to.to_string(), status.chain, status.genesis_hash);
        return Err(ProbeError::OtherChain { to, chain, found, wanted });
    }
    let shares = &plan.shares;
    // Where hardly anything is meant to move an account's nonce, it does not matter.
    let has_transfers = shares.acceptable() - shares.creations > 0.01;
    if let Some(bulk) = genesis.bulk.as_ref().filter(|_| has_transfers) {
        let (number, wanted) = (plan.first_account, plan.start_nonce);
        let name = PublicKey(bulk_key(&bulk.seed, number).verifying_key().to_bytes()).to_string();
        if let Some(Answer::Account(account)) = ask(client, &Request::Account { name }).await
            && account.nonce != wanted
        {
            return Err(ProbeError::Nonce { number, found: account.nonce, wanted });
        }
    }
    Ok(Some(status))
}

/// One question; `None` when it is not answered with an answer.
async fn ask(client: &TxClient, request: &Request) -> Option<Answer> {
    let request = serde_json::to_vec(request).ok()?;
    let answer = tokio::time::timeout(PATIENCE, client.query(&request)).await.ok()?.ok()?;
    match serde_json::from_slice(&answer).ok()? {
        Response::Ok(answer) => Some(answer),
        Response::Error(_) => None,
    }
}
