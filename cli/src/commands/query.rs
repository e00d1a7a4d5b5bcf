//! The commands that ask a node one question and print the answer.

use std::future::Future;

use serde_json::Value;
use tana_types::query::{AgreementStatus, Answer, PENDING_PAGE_MAX, Pending, Request};

use super::submit::parse_id;
use crate::arguments::NodeArguments;
use crate::error::CliError;
use crate::home::Home;
use crate::keys;
use crate::node::{Node, Target, local_genesis, printable, runtime};
use crate::output::{Output, grouped};
use crate::time::iso8601;

/// Connects, asks, says goodbye.
fn ask<T, F>(arguments: &NodeArguments, home: &Home, question: impl FnOnce(Node) -> F) -> Result<T, CliError>
where
    F: Future<Output = (Node, Result<T, CliError>)>,
{
    let target = Target::resolve(arguments, home)?;
    runtime()?.block_on(async {
        let (node, answer) = question(target.connect().await?).await;
        node.close().await;
        answer
    })
}

/// `tana account`.
///
/// # Errors
/// [`CliError`] when the node cannot be asked or has no such account.
pub fn account(name: &str, arguments: &NodeArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    let account = find_account(name, arguments, home, output)?;
    output.result(&account, |output| {
        let mut pairs = vec![("account", account.key.clone())];
        pairs.extend(account.username.clone().map(|name| ("username", name)));
        for (label, text) in [("name", &account.display_name), ("about", &account.biography)] {
            if !text.is_empty() {
                pairs.push((label, printable(text)));
            }
        }
        pairs.push(("role", account.role.clone()));
        pairs.push(("nonce", account.nonce.to_string()));
        pairs.push(("created", format!("height {}", grouped(account.created_height))));
        pairs.push(("as of", format!("height {}", grouped(account.height))));
        output.pairs(pairs);
        if account.balances.is_empty() {
            output.line("no balances");
        } else {
            let rows = account.balances.iter().map(|balance| vec![balance.currency.clone(), balance.amount.clone()]);
            output.rows(&["currency", "balance"], &[1], rows);
        }
    });
    Ok(())
}

/// The account that `name` means: a key, an @username, or the name of a key file of the home.
///
/// # Errors
/// [`CliError`] when the node cannot be asked or has no such account.
pub fn find_account(
    name: &str,
    arguments: &NodeArguments,
    home: &Home,
    output: &Output,
) -> Result<tana_types::query::Account, CliError> {
    let name = account_name(name, home, output)?;
    ask(arguments, home, async |node: Node| {
        let answer = node.account(&name).await;
        (node, answer)
    })
}

/// What the node understands: a key or an @username; the name of a key file of the home is read here.
fn account_name(name: &str, home: &Home, output: &Output) -> Result<String, CliError> {
    if name.starts_with('@') {
        return Ok(name.parse::<tana_types::username::Username>()?.to_string());
    }
    if let Ok(key) = name.parse::<tana_types::key::PublicKey>() {
        return Ok(key.to_string());
    }
    let path = keys::locate_key(home, name);
    if path.exists() {
        return Ok(keys::read_key_file(&path, output)?.public_key().to_string());
    }
    Err(CliError::Usage(format!(
        "`{}` is neither a key (ed25519_ and 64 hexadecimal digits), nor an @username, nor a key of `tana keys list`",
        printable(name)
    )))
}

/// `tana block`.
///
/// # Errors
/// [`CliError`] when the node cannot be asked or has no such block.
pub fn block(height: Option<u64>, arguments: &NodeArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    let block = ask(arguments, home, async |node: Node| {
        let answer = match node.ask(&Request::Block { height }).await {
            Ok(Answer::Block(block)) => Ok(block),
            Ok(_) => Err(node.other_answer("block")),
            Err(error) => Err(error),
        };
        (node, answer)
    })?;
    output.result(&block, |output| {
        output.pairs([
            ("height", grouped(block.height)),
            ("hash", block.hash.clone()),
            ("parent", block.parent.clone()),
            ("proposer", block.proposer.clone()),
            ("time", iso8601(block.timestamp_ms)),
            ("transactions", grouped(block.transactions.into())),
            ("transaction root", block.transaction_root.clone()),
            ("roots are of", format!("height {}", grouped(block.executed_height))),
            ("state root", block.state_root.clone()),
            ("receipts root", block.receipts_root.clone()),
        ]);
        if !block.codes.is_empty() {
            let rows = block.codes.iter().map(|(code, count)| vec![code.clone(), grouped((*count).into())]);
            output.rows(&["code", "transactions"], &[1], rows);
        }
        if !block.batches.is_empty() {
            let row = |batch: &tana_types::query::BlockBatch| {
                vec![batch.lane.to_string(), batch.sequence.to_string(), batch.digest.clone()]
            };
            output.rows(&["lane", "sequence", "batch"], &[0, 1], block.batches.iter().map(row));
        }
    });
    Ok(())
}

/// `tana transaction`.
///
/// # Errors
/// [`CliError`] when the node cannot be asked or does not know it.
pub fn transaction(id: &str, arguments: &NodeArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    let id = hex::encode(parse_id(id)?);
    let transaction = ask(arguments, home, async |node: Node| {
        let answer = match node.ask(&Request::Transaction { id }).await {
            Ok(Answer::Transaction(transaction)) => Ok(transaction),
            Ok(_) => Err(node.other_answer("transaction")),
            Err(error) => Err(error),
        };
        (node, answer)
    })?;
    output.result(&transaction, |output| {
        output.pairs([
            ("id", transaction.id.clone()),
            ("kind", transaction.kind.clone()),
            ("sender", transaction.sender.clone()),
            ("nonce", transaction.nonce.to_string()),
            ("ended as", transaction.code.clone()),
            ("height", grouped(transaction.height)),
            ("position", grouped(transaction.index.into())),
        ]);
    });
    Ok(())
}

/// The most requests that `tana pending` gathers: what a node sends is not trusted to end.
const PENDING_LISTED_MAX: usize = 1_000_000;

/// Everything that waits, page by page. Each page is as of its own height: what is asked or decided meanwhile may be missing or listed.
async fn all_pending(node: &Node) -> Result<Vec<Pending>, CliError> {
    let mut all: Vec<Pending> = Vec::new();
    while all.len() < PENDING_LISTED_MAX {
        let after = all.last().map(|entry| entry.request.clone());
        let page = match node.ask(&Request::Pending { after, limit: Some(PENDING_PAGE_MAX) }).await? {
            Answer::Pending(page) => page,
            _ => return Err(node.other_answer("pending")),
        };
        let is_last = page.len() < PENDING_PAGE_MAX as usize;
        for entry in page {
            // Rising identifiers are what makes the pages come to an end.
            if all.last().is_some_and(|last| last.request >= entry.request) {
                return Err(node.other_answer("pending"));
            }
            all.push(entry);
        }
        if is_last {
            break;
        }
    }
    Ok(all)
}

/// `tana pending`.
///
/// # Errors
/// [`CliError`] when the node cannot be asked.
pub fn pending(arguments: &NodeArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    let pending = ask(arguments, home, async |node: Node| {
        let answer = all_pending(&node).await;
        (node, answer)
    })?;
    output.result(&pending, |output| {
        if pending.is_empty() {
            return output.line("nothing waits for the sovereign");
        }
        let rows = pending.iter().map(|entry| {
            vec![
                entry.kind.clone(),
                entry.amount.clone(),
                entry.currency.clone(),
                entry.account.clone(),
                grouped(entry.height),
                entry.request.clone(),
            ]
        });
        output.rows(&["kind", "amount", "currency", "account", "height", "request"], &[1, 4], rows);
    });
    Ok(())
}

/// `tana currencies`.
///
/// # Errors
/// [`CliError`] when the node cannot be asked.
pub fn currencies(arguments: &NodeArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    let currencies = ask(arguments, home, async |node: Node| {
        let answer = node.currencies().await;
        (node, answer)
    })?;
    output.result(&currencies, |output| {
        let rows = currencies.iter().map(|currency| {
            let info = &currency.info;
            vec![
                info.code.to_string(),
                info.decimals.to_string(),
                format!("{:?}", info.currency_type).to_lowercase(),
                if info.verified { "yes" } else { "no" }.to_owned(),
                printable(&info.name),
                printable(&info.symbol),
                currency.total.clone(),
            ]
        });
        output.rows(&["code", "decimals", "type", "verified", "name", "symbol", "total"], &[1, 6], rows);
    });
    Ok(())
}

/// `tana status`.
///
/// # Errors
/// [`CliError`] when the node cannot be asked.
pub fn status(arguments: &NodeArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    let given = match &arguments.genesis {
        Some(path) => local_genesis(Some(path), home)?,
        None => None,
    };
    let status = ask(arguments, home, async |node: Node| {
        let answer = node.status().await.and_then(|status| match given {
            Some((path, genesis)) => node.check_chain(&status, &genesis, path).map(|()| status),
            None => Ok(status),
        });
        (node, answer)
    })?;
    output.result(&status, |output| {
        output.pairs([
            ("chain", printable(&status.chain)),
            ("genesis hash", status.genesis_hash.clone()),
            ("validator", status.validator.clone()),
            ("height", grouped(status.height)),
            ("state root", status.state_root.clone()),
            ("accounts", grouped(status.accounts)),
            ("applied", format!("{} transactions", grouped(status.transactions_applied))),
            ("agreement", agreement(status.agreement.as_deref())),
            ("signatures", status.verify_backend.clone()),
            ("log writer", status.log_backend.clone()),
            ("version", status.version.clone()),
        ]);
    });
    Ok(())
}

fn agreement(status: Option<&AgreementStatus>) -> String {
    match status {
        None => "none".to_owned(),
        Some(status) if status.voting => {
            format!("votes in epoch {}, final to height {}", grouped(status.epoch), grouped(status.final_height))
        }
        Some(status) => {
            let reason = if status.reason.is_empty() { "it has just begun" } else { &status.reason };
            format!(
                "follows epoch {} without voting, final to height {}: {}",
                grouped(status.epoch),
                grouped(status.final_height),
                printable(reason)
            )
        }
    }
}

/// `tana metrics`.
///
/// # Errors
/// [`CliError`] when the node cannot be asked or its answer is no JSON.
pub fn metrics(arguments: &NodeArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    let value = ask(arguments, home, async |node: Node| {
        let answer = match node.ask(&Request::Metrics).await {
            Ok(Answer::Metrics(text)) => serde_json::from_str::<Value>(&text.0)
                .map_err(|error| CliError::BadAnswer { node: node.name().to_owned(), detail: error.to_string() }),
            Ok(_) => Err(node.other_answer("metrics")),
            Err(error) => Err(error),
        };
        (node, answer)
    })?;
    output.result(&value, |output| {
        let (mut tables, mut rows) = (Vec::new(), Vec::new());
        flatten("", &value, &mut tables, &mut rows);
        output.rows(&["metric", "value"], &[1], rows);
        for (name, list) in tables {
            output.line(format!("\n{name}"));
            print_table(&list, output);
        }
    });
    Ok(())
}

/// A value with its name, as lists of counts hold them.
fn named(entry: &Value) -> Option<(&str, &Value)> {
    match entry.as_array()?.as_slice() {
        [Value::String(name), value] => Some((name, value)),
        _ => None,
    }
}

/// Nested objects and lists of named values become dotted names; lists of objects become tables of their own.
fn flatten(prefix: &str, value: &Value, tables: &mut Vec<(String, Vec<Value>)>, rows: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&name, value, tables, rows);
            }
        }
        Value::Array(list) if list.first().is_some_and(Value::is_object) => {
            tables.push((prefix.to_owned(), list.clone()));
        }
        Value::Array(list) if !list.is_empty() && list.iter().all(|entry| named(entry).is_some()) => {
            for (name, value) in list.iter().filter_map(named) {
                flatten(&format!("{prefix}.{name}"), value, tables, rows);
            }
        }
        plain => rows.push(vec![prefix.to_owned(), cell(plain)]),
    }
}

fn print_table(list: &[Value], output: &Output) {
    let Some(Value::Object(first)) = list.first() else { return };
    let mut names: Vec<&str> = first.keys().map(String::as_str).collect();
    // Fields come in the order of their names; what the row is about belongs in front.
    names.sort_by_key(|name| *name != "name");
    let right: Vec<usize> =
        names.iter().enumerate().filter_map(|(column, name)| first[*name].is_number().then_some(column)).collect();
    output.rows(&names, &right, list.iter().map(|entry| names.iter().map(|name| cell(&entry[*name])).collect()));
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(integer), _) => grouped(integer),
            (None, Some(real)) => format!("{real:.3}"),
            (None, None) => number.to_string(),
        },
        Value::Array(list) if list.is_empty() => "none".to_owned(),
        other => other.to_string(),
    }
}
