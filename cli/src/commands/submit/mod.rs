//! `tana submit`: builds one transaction of any kind, signs it here, sends it, and follows it to its end.
//!
//! 1. [`context`]: the key, the chain, and whatever the node has to be asked (nonce, decimals, names). The node is asked only for what
//!    is not known here, so `--dry-run` with `--nonce` and a genesis file works without any node.
//! 2. [`payload`]: the arguments as a payload; amounts become minor units with the currency's decimals.
//! 3. Sign, or with `--dry-run` print the bytes and stop.
//! 4. [`follow`]: send, then wait for accepted, final and applied.

pub mod arguments;
mod context;
mod follow;
mod payload;

use serde_json::json;
use tana_types::payload::Kind;
use tana_types::transaction::{Transaction, sign};

use crate::error::CliError;
use crate::home::Home;
use crate::node::runtime;
use crate::output::Output;
use crate::time::now_ms;
use arguments::SubmitArguments;
use context::Context;
pub(crate) use payload::parse_id;

/// A signed transaction and what people want to know about it.
#[derive(Debug, Clone)]
pub struct Signed {
    /// All its bytes.
    pub bytes: Vec<u8>,
    /// Its identifier in hexadecimal.
    pub id: String,
    /// Its kind.
    pub kind: Kind,
    /// Its nonce.
    pub nonce: u64,
}

/// Runs `tana submit`.
///
/// # Errors
/// [`CliError`]; [`CliError::Transaction`] when the node refused it or it ended without effect.
pub fn run(arguments: &SubmitArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    runtime()?.block_on(submit(arguments, home, output))
}

async fn submit(arguments: &SubmitArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    let options = &arguments.options;
    let mut context = Context::new(arguments, home, output)?;
    let parts = payload::resolve(&arguments.kind, &mut context).await?;
    let payload = parts.payload();
    let kind = payload.kind();
    let chain = context.chain().await?;
    let nonce = match (options.nonce, kind) {
        (Some(nonce), _) => nonce,
        (None, Kind::UserCreation) => 0,
        (None, _) => context.next_nonce().await?,
    };
    let timestamp_ms = options.timestamp.unwrap_or_else(now_ms);
    let bytes = sign(&chain, context.key(), nonce, timestamp_ms, &payload).map_err(CliError::Payload)?;
    let id = Transaction::exactly(&bytes).map_or([0; 32], |transaction| transaction.id());
    let signed = Signed { bytes, id: hex::encode(id), kind, nonce };
    if options.dry_run {
        print_dry_run(&signed, timestamp_ms, &context, output);
        return Ok(());
    }
    let node = context.take_node().await?;
    let result = follow::send_and_follow(&node, &signed, options, output).await;
    node.close().await;
    result
}

fn print_dry_run(signed: &Signed, timestamp_ms: u64, context: &Context<'_>, output: &Output) {
    let bytes = hex::encode(&signed.bytes);
    let value = json!({
        "id": signed.id, "kind": signed.kind.name(), "nonce": signed.nonce, "timestamp_ms": timestamp_ms,
        "sender": context.sender(), "size": signed.bytes.len(), "bytes": bytes,
    });
    output.result(&value, |output| {
        output.pairs([
            ("id", signed.id.clone()),
            ("kind", signed.kind.name().to_owned()),
            ("sender", context.sender().to_string()),
            ("nonce", signed.nonce.to_string()),
            ("size", format!("{} bytes", signed.bytes.len())),
        ]);
        output.line(&bytes);
        output.note("dry run: nothing was sent");
    });
}
