//! `tana token`: makes the token of a service, and reads one.

use std::io::{IsTerminal as _, Read as _};

use clap::{Args, Subcommand};
use serde_json::json;
use tana_http::token::{self, Claims, LIFETIME_MS_MAX, NodeStanding, NodeStatus, Service, TOKEN_BYTES_MAX, TokenError};
use tana_types::key::PublicKey;

use crate::error::CliError;
use crate::home::Home;
use crate::http::view::short_name;
use crate::keys;
use crate::output::Output;
use crate::time::{iso8601, now_ms};

/// The commands about tokens.
#[derive(Debug, Clone, Subcommand)]
pub enum TokenCommand {
    /// Make a token, signed with the key of a node
    Issue(IssueArguments),
    /// Show what a token says, and with --public-key whether that key signed it
    Inspect(InspectArguments),
}

/// What `tana token issue` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    tana token issue --service ledger --audience mesh\n  \
    tana token issue --service content --audience ledger --key ./node.json --node-id val_3b6a27bc --lifetime 600\n  \
    curl -H \"authorization: Bearer $(tana token issue --service ledger --audience mesh)\" ...\n\n\
    Whoever has the token may speak for the service until it expires. It counts where the mesh knows the node as active.")]
pub struct IssueArguments {
    /// The service that speaks: ledger, content, mesh, identity, notifications or consensus
    #[arg(long, value_name = "NAME")]
    pub service: Service,
    /// To whom it speaks; nobody else takes the token
    #[arg(long, value_name = "NAME")]
    pub audience: String,
    /// The node's key file, or a name from `tana keys list`
    #[arg(long, value_name = "FILE|NAME", default_value = "validator")]
    pub key: String,
    /// The id under which the mesh knows the node [default: val_ and the first eight digits of its public key]
    #[arg(long, value_name = "ID")]
    pub node_id: Option<String>,
    /// How long it lasts, in seconds: at most 86400, a day
    #[arg(long, value_name = "S", default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(1..=LIFETIME_MS_MAX / 1_000))]
    pub lifetime: u64,
}

/// What `tana token inspect` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    tana token inspect v4.public.eyJz...\n  \
    tana token inspect - --public-key ed25519_3b6a... < token.txt\n\n\
    Without --public-key nothing is checked: anybody can write a token that says anything.")]
pub struct InspectArguments {
    /// The token, or - to read it from standard input
    #[arg(value_name = "TOKEN|-")]
    pub token: String,
    /// The node's public key: the token must be signed by it, and count now
    #[arg(long, value_name = "KEY")]
    pub public_key: Option<PublicKey>,
}

/// Runs `tana token ...`.
///
/// # Errors
/// [`CliError`] when a key file cannot be read, claims would count nowhere, or a token is none or does not count.
pub fn run(command: &TokenCommand, home: &Home, output: &Output) -> Result<(), CliError> {
    match command {
        TokenCommand::Issue(choices) => issue(choices, home, output),
        TokenCommand::Inspect(choices) => inspect(choices, output),
    }
}

fn issue(choices: &IssueArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    let file = keys::read_key_file(&keys::locate_key(home, &choices.key), output)?;
    let node = choices.node_id.clone().unwrap_or_else(|| short_name(&file.public_key()));
    let claims = Claims::new(choices.service, node, &choices.audience, now_ms()).lasting(choices.lifetime * 1_000);
    let token = token::issue(&file.key, &claims).map_err(|error| CliError::Usage(error.to_string()))?;
    let mut value = shown(&claims);
    value["token"] = json!(token);
    output.result(&value, |output| {
        output.line(&token);
        // Not where a program reads: there only the token is wanted.
        if std::io::stdout().is_terminal() {
            output.note(format!(
                "{} of {} to {}, until {}",
                claims.service,
                claims.node,
                claims.audience,
                iso8601(claims.expires_ms)
            ));
        }
    });
    Ok(())
}

fn inspect(choices: &InspectArguments, output: &Output) -> Result<(), CliError> {
    let token = if choices.token == "-" { read_standard_input()? } else { choices.token.clone() };
    let token = token.trim();
    let claims = token::inspect(token).map_err(refused)?;
    let now = now_ms();
    let checked = match choices.public_key {
        Some(key) => {
            // Whoever asks for a key believes in the node, and everybody is the audience.
            let standing = NodeStanding { key, status: NodeStatus::Active };
            token::verify(token, &claims.audience, now, |_| Some(standing)).map_err(refused)?;
            true
        }
        None => false,
    };
    let expired = claims.expires_ms <= now;
    let mut value = shown(&claims);
    value["expired"] = json!(expired);
    value["signature_checked"] = json!(checked);
    output.result(&value, |output| {
        output.pairs([
            ("service", claims.service.to_string()),
            ("node", claims.node.clone()),
            ("audience", claims.audience.clone()),
            ("issued", iso8601(claims.issued_ms)),
            ("expires", format!("{}{}", iso8601(claims.expires_ms), if expired { " (expired)" } else { "" })),
            (
                "signature",
                if checked { "by the key given".to_owned() } else { "not checked (--public-key)".to_owned() },
            ),
        ]);
    });
    Ok(())
}

fn shown(claims: &Claims) -> serde_json::Value {
    json!({
        "service": claims.service,
        "node": claims.node,
        "audience": claims.audience,
        "issued_ms": claims.issued_ms,
        "expires_ms": claims.expires_ms,
    })
}

/// A token is an argument, but whether it counts is a fact: like data that does not hold.
fn refused(error: TokenError) -> CliError {
    CliError::Log(error.to_string())
}

fn read_standard_input() -> Result<String, CliError> {
    let mut text = String::new();
    // Some room for blanks around it; what is longer is no token, and is told so.
    let read = std::io::stdin().lock().take(2 * TOKEN_BYTES_MAX as u64).read_to_string(&mut text);
    read.map_err(|source| CliError::System { action: "read the token from standard input", source })?;
    Ok(text)
}
