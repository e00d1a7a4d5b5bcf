//! Sending one transaction and waiting for its end: accepted, final, applied.
//!
//! The node's answers come as events about sequence 0 of a stream of our own. "Accepted" is no promise; "final" and "applied" survive
//! any crash of the node. When answers are lost or the connection breaks, the transaction may still take effect: the error says so and
//! names the command that finds out.

use std::time::{Duration, Instant};

use serde_json::json;
use tana_net::{AnswerEvent, AnswerKind};
use tana_types::code::Code;

use super::Signed;
use super::arguments::SubmitOptions;
use crate::error::CliError;
use crate::node::Node;
use crate::output::{Output, grouped};

/// What is known of the transaction so far.
struct Progress<'a> {
    signed: &'a Signed,
    output: &'a Output,
    begun: Instant,
    accepted_ms: Option<f64>,
    final_ms: Option<f64>,
    ended_ms: Option<f64>,
    place: Option<(u64, u64)>,
}

/// How it ended.
enum End {
    /// Good enough for what was asked.
    Well(&'static str),
    /// Refused or without effect.
    Badly(&'static str, Code),
    /// The node can no longer say.
    Unknown,
}

/// Sends the transaction and follows it.
///
/// # Errors
/// [`CliError::Transaction`] when it was refused or took no effect, [`CliError::Timeout`] when its end is not known in time.
pub async fn send_and_follow(
    node: &Node,
    signed: &Signed,
    options: &SubmitOptions,
    output: &Output,
) -> Result<(), CliError> {
    let (mut sender, mut answers) = node.client().open_submit().await?;
    let begun = Instant::now();
    let mut progress =
        Progress { signed, output, begun, accepted_ms: None, final_ms: None, ended_ms: None, place: None };
    sender.send(&signed.bytes).await?;
    if !output.is_json() {
        output.line(format!("transaction {}  {}, nonce {}", signed.id, signed.kind.name(), signed.nonce));
    }
    let followed = async {
        let mut events = Vec::new();
        loop {
            events.clear();
            if answers.receive(&mut events).await? == 0 {
                return Ok(End::Unknown);
            }
            for event in &events {
                if let Some(end) = progress.note(event, options.no_wait) {
                    return Ok::<End, CliError>(end);
                }
            }
        }
    };
    let seconds = options.timeout;
    let end = match tokio::time::timeout(Duration::from_secs(seconds), followed).await {
        Ok(Ok(end)) => end,
        Ok(Err(error)) => {
            output.warn(format!("the answer was lost; look with `tana transaction {}`", signed.id));
            return Err(error);
        }
        Err(_) => End::Unknown,
    };
    match end {
        End::Unknown => Err(CliError::Timeout { id: signed.id.clone(), seconds }),
        End::Well(outcome) => {
            progress.report(outcome, Code::Applied);
            Ok(())
        }
        End::Badly(outcome, code) => {
            progress.report(outcome, code);
            Err(CliError::Transaction { code: code.name().to_owned() })
        }
    }
}

impl Progress<'_> {
    /// Takes one event; returns the end if it is one.
    fn note(&mut self, event: &AnswerEvent, no_wait: bool) -> Option<End> {
        // Whole microseconds: what lies below is noise.
        let ms = self.begun.elapsed().as_micros() as f64 / 1e3;
        if event.height > 0 {
            self.place = Some((event.height, event.index));
        }
        let code = Code::from_u8(event.code).unwrap_or(Code::Malformed);
        match event.kind {
            AnswerKind::Accepted => {
                self.accepted_ms = Some(ms);
                self.say("accepted", ms);
                no_wait.then_some(End::Well("accepted"))
            }
            AnswerKind::Rejected => {
                self.ended_ms = Some(ms);
                Some(End::Badly("rejected", code))
            }
            AnswerKind::Final => {
                self.final_ms = Some(ms);
                self.say("final", ms);
                None
            }
            AnswerKind::Applied => {
                self.ended_ms = Some(ms);
                self.say("applied", ms);
                Some(End::Well("applied"))
            }
            AnswerKind::Failed => {
                self.ended_ms = Some(ms);
                Some(End::Badly("failed", code))
            }
            AnswerKind::Skipped => {
                self.ended_ms = Some(ms);
                Some(End::Badly("skipped", code))
            }
            AnswerKind::Lost => Some(End::Unknown),
        }
    }

    fn say(&self, what: &str, ms: f64) {
        if self.output.is_json() {
            return;
        }
        let place = match self.place {
            Some((height, index)) if what != "accepted" => {
                format!("  height {}, position {}", grouped(height), grouped(index))
            }
            _ => String::new(),
        };
        self.output.line(format!("  {what:<9}{ms:>8.1} ms{place}"));
    }

    fn report(&self, outcome: &str, code: Code) {
        let (height, index) = self.place.unzip();
        if self.output.is_json() {
            let code_name = if outcome == "accepted" { None } else { Some(code.name()) };
            self.output.document(&json!({
                "id": self.signed.id, "kind": self.signed.kind.name(), "nonce": self.signed.nonce, "outcome": outcome,
                "code": code_name, "height": height, "index": index, "accepted_ms": self.accepted_ms,
                "final_ms": self.final_ms, "ended_ms": self.ended_ms,
            }));
        } else if code != Code::Applied {
            let place = height.map(|height| format!(" at height {}", grouped(height))).unwrap_or_default();
            self.output.line(format!("  {outcome}{place}: {} ({})", code.explanation(), code.name()));
            if let Some(advice) = advice(code) {
                self.output.line(format!("  {advice}"));
            }
        }
    }
}

/// What a person can do about a code, where it is not plain.
fn advice(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::Duplicate | Code::NonceUsed | Code::NonceGap | Code::NonceTooFar => {
            "Another transaction of this account may be under way: try again without --nonce in a moment."
        }
        Code::UnknownSender | Code::SenderUnknown => {
            "Give the key an account first: tana submit user-creation --key FILE"
        }
        Code::UnknownRecipient | Code::UnknownAccount => {
            "Check the key; an account exists once its holder has run `tana submit user-creation`."
        }
        Code::InsufficientFunds => "`tana account` shows what there is.",
        Code::UnknownCurrency => "`tana currencies` lists what there is.",
        Code::NotSovereign | Code::SovereignRole => "The sovereign must sign this: --key sovereign (or its key file).",
        Code::UsernameTaken => "Choose another --username.",
        Code::AccountExists => "The key can be used as it is: `tana account KEY` shows its account.",
        Code::UnknownRequest | Code::PendingTotal | Code::PendingPerAccount => "`tana pending` lists what waits.",
        Code::NotValidator => "Name a validator with --node; `tana status` shows the address that is asked.",
        Code::WrongChain => "Give the genesis of the node's chain with --genesis.",
        Code::TimestampOutOfWindow | Code::ClockWindow => "Check this machine's clock, and --timestamp.",
        Code::AccountsPerBlock | Code::CreationBusy | Code::Resent | Code::Stopping => "Try again in a moment.",
        _ => return None,
    })
}
