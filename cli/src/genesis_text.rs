//! The genesis file that `tana init`, `tana devnet` and `tana testnet` write: every value with its unit and range beside it, since a person will read it before a chain
//! is started and nobody can change it afterwards.

use tana_types::genesis::{Genesis, GenesisError, Rules};
use tana_types::key::PublicKey;

/// What differs from one new chain to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisChoices {
    /// The chain's name, 1 to 64 bytes.
    pub chain: String,
    /// When it begins, milliseconds since 1970-01-01T00:00:00Z.
    pub timestamp_ms: u64,
    /// The sovereign's key.
    pub sovereign: PublicKey,
    /// The first validators: key, and where the others reach its links, `host:port`.
    pub validators: Vec<(PublicKey, String)>,
    /// What all must agree on.
    pub rules: Rules,
    /// Accounts for load tests: seed and count.
    pub bulk: Option<(String, u32)>,
}

/// The commented text. It is parsed and checked before it is returned, so what is written can be started.
pub fn genesis_text(choices: &GenesisChoices) -> Result<String, GenesisError> {
    let mut text = String::with_capacity(4_096);
    text.push_str(&heading(choices));
    text.push_str(&rules(&choices.rules));
    text.push_str(&sovereign(choices));
    text.push_str(CURRENCIES);
    text.push_str(&validators(choices));
    if let Some((seed, count)) = &choices.bulk {
        text.push_str(&bulk(seed, *count));
    }
    Genesis::parse(&text)?;
    Ok(text)
}

/// A text as a TOML string with its quotes.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn heading(choices: &GenesisChoices) -> String {
    format!(
        "# The genesis: what every validator of this chain agrees on. The chain is named by the hash of these values, so nothing here\n\
         # can change once it has started: a changed value is another chain. Comments and order do not count.\n\
         \n\
         # The chain's name, 1 to 64 bytes.\n\
         chain = {}\n\
         # When it begins, milliseconds since 1970-01-01T00:00:00Z. Blocks have later times.\n\
         timestamp_ms = {}\n\n",
        quoted(&choices.chain),
        choices.timestamp_ms
    )
}

fn rules(rules: &Rules) -> String {
    let Rules {
        transaction_window_ms,
        accounts_per_block,
        accounts_total,
        pending_total,
        pending_per_account,
        validators_total,
        epoch_blocks,
        lag_blocks_max,
        batch_expiry_blocks,
        block_transactions,
    } = rules;
    format!(
        "[rules]\n\
         # How far a transaction's timestamp may be from its block's, milliseconds, at least 1,000.\n\
         transaction_window_ms = {transaction_window_ms}\n\
         # The most accounts that one block may create, at least 1.\n\
         accounts_per_block = {accounts_per_block}\n\
         # The most accounts of the chain, up to 4,000,000,000: the state cannot be grown for free.\n\
         accounts_total = {accounts_total}\n\
         # The most deposits and withdrawals that may wait for the sovereign.\n\
         pending_total = {pending_total}\n\
         # The most of these that one account may have, 1 to 65,536 requests: one account cannot take all the room.\n\
         pending_per_account = {pending_per_account}\n\
         # The most validators of a set, 1 to 256.\n\
         validators_total = {validators_total}\n\
         # Blocks of an epoch, at least 1. The validator set changes only between epochs.\n\
         epoch_blocks = {epoch_blocks}\n\
         # How many heights execution may lag behind ordering before blocks are proposed empty, at least 1.\n\
         lag_blocks_max = {lag_blocks_max}\n\
         # Blocks for which a sealed batch may be listed, at least 1,000.\n\
         batch_expiry_blocks = {batch_expiry_blocks}\n\
         # The most transactions of a block, 1 to 100,000: every validator's log needs room for them, 10 KB each at twice the size of a record.\n\
         block_transactions = {block_transactions}\n\n"
    )
}

fn sovereign(choices: &GenesisChoices) -> String {
    format!(
        "# The one account that confirms deposits and withdrawals, creates currencies, assigns roles and changes the validator set.\n\
         [sovereign]\n\
         key = \"{}\"\n\
         # @ and 1 to 49 of a-z, 0-9, _ and -; or empty.\n\
         username = \"@sovereign\"\n\
         \n\
         # What it holds from the start; amounts are decimal texts.\n\
         [[sovereign.allocation]]\n\
         currency = \"USD\"\n\
         amount = \"1000000000\"\n\
         \n\
         [[sovereign.allocation]]\n\
         currency = \"BTC\"\n\
         amount = \"100000\"\n\
         \n\
         [[sovereign.allocation]]\n\
         currency = \"ETH\"\n\
         amount = \"1000000\"\n\n",
        choices.sovereign
    )
}

const CURRENCIES: &str = "\
# The first currencies, 1 to 1,024. code: 3 to 10 capital letters; decimals: 0 to 18; type: fiat or crypto; verified: whether the
# sovereign vouches for it; name: at most 64 bytes; symbol: at most 16 bytes.
[[currency]]
code = \"USD\"
decimals = 2
type = \"fiat\"
verified = true
name = \"US Dollar\"
symbol = \"$\"

[[currency]]
code = \"BTC\"
decimals = 8
type = \"crypto\"
verified = true
name = \"Bitcoin\"
symbol = \"₿\"

[[currency]]
code = \"ETH\"
decimals = 8
type = \"crypto\"
verified = true
name = \"Ether\"
symbol = \"Ξ\"

";

fn validators(choices: &GenesisChoices) -> String {
    let mut text = "# The first validator set, 1 to 256 of them; later ones come by the sovereign's transactions. address: where the others reach its\n\
         # links, host:port, UDP; 9000 + 10 x i for validator i.\n"
        .to_owned();
    for (place, (key, address)) in choices.validators.iter().enumerate() {
        let space = if place == 0 { "" } else { "\n" };
        text.push_str(&format!("{space}[[validator]]\nkey = \"{key}\"\naddress = {}\n", quoted(address)));
    }
    text
}

fn bulk(seed: &str, count: u32) -> String {
    format!(
        "\n# Accounts for load tests, made from the seed. Whoever reads this file owns them: never on a chain with real money.\n\
         [bulk]\n\
         seed = {}\n\
         count = {count}\n\
         # What each of them holds.\n\
         currency = \"USD\"\n\
         amount = \"1000000\"\n",
        quoted(seed)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices() -> GenesisChoices {
        GenesisChoices {
            chain: "a \"quoted\" name".to_owned(),
            timestamp_ms: 1_700_000_000_000,
            sovereign: PublicKey([1; 32]),
            validators: vec![
                (PublicKey([3; 32]), "127.0.0.1:9000".to_owned()),
                (PublicKey([9; 32]), "there.example:9010".to_owned()),
            ],
            rules: Rules { epoch_blocks: 40, ..Rules::default() },
            bulk: Some(("seed".to_owned(), 1_000)),
        }
    }

    #[test]
    fn the_text_says_what_was_chosen() {
        let genesis = Genesis::parse(&genesis_text(&choices()).unwrap()).unwrap();
        assert_eq!(genesis.chain, "a \"quoted\" name");
        assert_eq!(genesis.rules, choices().rules);
        assert_eq!(genesis.sovereign.key, PublicKey([1; 32]));
        let validators = genesis.validators.iter().map(|validator| (validator.key, validator.address.clone()));
        assert_eq!(validators.collect::<Vec<_>>(), choices().validators);
        let decimals: Vec<_> = genesis.currencies.iter().map(|info| (info.code.to_string(), info.decimals)).collect();
        assert_eq!(decimals, [("USD".to_owned(), 2), ("BTC".to_owned(), 8), ("ETH".to_owned(), 8)]);
        assert!(genesis.currencies.iter().all(|info| info.verified));
        assert_eq!(genesis.bulk.map(|bulk| (bulk.seed, bulk.count)), Some(("seed".to_owned(), 1_000)));
    }

    #[test]
    fn every_rule_is_written_with_a_comment_before_it() {
        let text = genesis_text(&choices()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let rules = toml::Table::try_from(choices().rules).unwrap();
        for (name, value) in &rules {
            let place = lines.iter().position(|line| *line == format!("{name} = {value}"));
            assert!(place.is_some_and(|place| lines[place - 1].starts_with("# ")), "{name}");
        }
        let place = lines.iter().position(|line| line.starts_with("pending_per_account")).unwrap();
        assert!(lines[place - 1].contains("1 to 65,536 requests"), "{}", lines[place - 1]);
        assert!(lines[place - 2].starts_with("pending_total"));
    }

    #[test]
    fn what_cannot_be_started_is_not_written() {
        let long = GenesisChoices { chain: "x".repeat(65), ..choices() };
        assert!(matches!(genesis_text(&long), Err(GenesisError::Rule(_))));
        let many = GenesisChoices { bulk: Some((String::new(), u32::MAX)), ..choices() };
        assert!(matches!(genesis_text(&many), Err(GenesisError::Rule(_))));
    }
}
